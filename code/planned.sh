# Tangled from chapters/46-rules.md; edit there.
# usage: MAKE=COMMAND DRY= LAUNCH= sh code/planned.sh WORK GOAL PROGRAM plan OPTION...
# Has the program write rules of make into WORK/plan.mk, and keys into WORK/keys, and
# make have the data by them; and once more, for make to reach the GOAL. LAUNCH: what
# stages will be launched with; DRY: not empty: leaves nothing.
set -u
work=$1 goal=$2
shift 2
# Run a command, and hand signals on to it
# attend COMMAND...: runs it, and has it end when this script is asked to; its status
attend() {
    "$@" </dev/null &
    child=$!
    trap 'kill $child 2>/dev/null; wait $child' HUP INT TERM
    wait $child
}

sh code/due.sh launcher || exit
[ -z "$DRY" ] || {
    # Have rules that leave nothing
    [ -x "$1" ] || {
        echo "what follows is for 'distil plan' to say"
        exit 0
    }
    work=$(mktemp -d) || exit
    trap 'rm -rf "$work"' EXIT
}
mkdir -p "$work/keys" || exit
for step in data.planned $goal; do
    "$@" --keys "$work/keys" --make >"$work/plan.new" &&
        mv "$work/plan.new" "$work/plan.mk" &&
        attend $MAKE PLAN="$work/plan.mk" "$step" || exit
done

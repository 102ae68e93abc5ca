# Tangled from chapters/46-rules.md; edit there.
# usage: MAKE=COMMAND DRY= sh code/planned.sh PLAN KEYS GOALS PROGRAM plan OPTION...
# Has the program write rules of make into the file PLAN, and keys into the folder KEYS,
# and make reach the GOALS by them. DRY: not empty: leaves nothing.
set -u
plan=$1 keys=$2 goals=$3
shift 3
if [ -z "$DRY" ]; then
    mkdir -p "$keys" || exit
    "$@" --keys "$keys" --make >"$plan.new" && mv "$plan.new" "$plan" || exit
    exec $MAKE PLAN="$plan" $goals
fi
# Reach the goals and leave nothing
[ -x "$1" ] || {
    echo "what follows is for 'distil plan' to say"
    exit 0
}
plan=$(mktemp) || exit
trap 'rm -f "$plan"' EXIT
"$@" --make >"$plan" && $MAKE PLAN="$plan" $goals

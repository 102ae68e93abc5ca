# Tangled from chapters/46-rules.md; edit there.
# usage: MAKE=COMMAND sh code/tiers.sh JOBS SECONDS TIER...
# Has make run the stages of one tier after the other, JOBS side by side, and then
# compute the results and weave them; between two tiers, too, if that many SECONDS have
# gone by since. never: nothing is woven. Ends at the first make that fails, with its
# status.
set -u
jobs=$1 seconds=$2
shift 2
# Run a command, and hand signals on to it
# attend COMMAND...: runs it, and has it end when this script is asked to; its status
attend() {
    "$@" </dev/null &
    child=$!
    trap 'kill $child 2>/dev/null; wait $child' HUP INT TERM
    wait $child
}

# Compute the results and weave them
tell() {
    attend $MAKE results || exit
    [ "$seconds" = never ] || attend $MAKE weave.alone || exit
}

began=$(date +%s)
for tier; do
    attend $MAKE -j"$jobs" "$tier.tier" || exit
    shift
    # Tell what there is if it took some time
    [ $# -gt 0 ] && [ "$seconds" != never ] &&
        [ $(($(date +%s) - began)) -ge "$seconds" ] || continue
    tell
    began=$(date +%s)
done
tell

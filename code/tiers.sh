# Tangled from chapters/16-rules.md; edit there.
# usage: MAKE=COMMAND sh code/tiers.sh JOBS SECONDS TIER...
# Has make run the stages of one tier after the other, JOBS side by side, and then
# compute the results and weave them; between two tiers, too, if that many SECONDS have
# gone by since. never: nothing is woven. Ends at the first make that fails, with its
# status.
set -u
jobs=$1 seconds=$2
shift 2
tell() {
    $MAKE results || exit
    [ "$seconds" = never ] || $MAKE weave.alone || exit
}

began=$(date +%s)
while [ $# -gt 0 ]; do
    $MAKE -j"$jobs" "$1.tier" || exit
    shift
    if [ $# = 0 ]; then
        tell
    elif [ "$seconds" != never ] && [ $(($(date +%s) - began)) -ge "$seconds" ]; then
        tell
        began=$(date +%s)
    fi
done

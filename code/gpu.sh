# Tangled from chapters/48-stages.md; edit there.
# usage: sh code/gpu.sh COMMAND...
# Runs COMMAND with a GPU of this machine and its share of the processors; waits until a
# GPU is free that no other command of this script has.
set -u
uuids='s/^GPU .*(UUID: \([^)]*\))$/\1/p'
gpus=${CUDA_VISIBLE_DEVICES-$(nvidia-smi -L 2>/dev/null | sed -n "$uuids")}
gpus=$(echo "$gpus" | tr , ' ')
count=$(echo "$gpus" | wc -w)
[ "$count" -gt 0 ] || {
    echo "gpu: expected a GPU that nvidia-smi -L lists, found none" >&2
    exit 1
}
export OMP_NUM_THREADS="$(expr "$(nproc)" / "$count" '|' 1)"
while :; do
    for gpu in $gpus; do
        # Take a GPU if it is free
        lock=/tmp/distil-$gpu.lock
        [ -e "$lock" ] || (umask 022 && : >"$lock")
        exec 9<"$lock"
        flock -n 9
        case $? in
        0)
            export CUDA_VISIBLE_DEVICES="$gpu"
            exec "$@"
            ;;
        1) ;;
        *) exit 1 ;;
        esac
    done
    sleep 1
done

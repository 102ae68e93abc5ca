# Tangled from chapters/49-start.md; edit there.
# usage: DISTIL_CACHE=FOLDER sh code/room.sh RUN DATA RECORDS COMMAND...
# Refuses a run for which the disk is too small: COMMAND prints the bytes of its models,
# RECORDS stages leave theirs in RUN, and the texts in DATA their pieces in a folder
# beside those of other editions of the code.
set -u
run=$1 data=$2 records=$3 cache=${DISTIL_CACHE%/*}
shift 3
models=$("$@") || exit 1
mkdir -p "$run" "$cache"
# Count the kilobytes of results and of pieces
results=$((models / 1024 + records * 300 + 20000))
texts=$(find -L "$data" -type f ! -name '*.safetensors' -printf '%s\n' |
    awk '{ sum += $1 } END { printf "%d", sum / 1024 }')
pieces=$((texts - $(du -sk "$cache" | cut -f 1)))
[ $pieces -gt 0 ] || pieces=0

# See whether a disk has room
# fits FOLDER KILOBYTES: says how many are free there; fails if they are too few
fits() {
    free=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$2" ] || {
        echo "room: $1: this run needs $(($2 / 1000)) MB more on the disk," \
            "and $((free / 1000)) MB are free" >&2
        exit 1
    }
    echo "plan: $1 takes up to $(($2 / 1000)) MB more of the disk," \
        "of which $((free / 1000)) MB are free"
}

if [ "$(stat -c %d "$run")" = "$(stat -c %d "$cache")" ]; then
    fits "$run" $((results + pieces))
else
    fits "$run" $results
    fits "$cache" $pieces
fi

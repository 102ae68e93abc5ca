# Tangled from chapters/49-start.md; edit there.
# usage: sh code/lock.sh FOLDER COMMAND...
# Runs COMMAND while nobody else who asks holds FOLDER, and exits with its status. If
# somebody does, says who, and exits with 1; with WAIT=1, or if the caller holds another
# folder already, waits. A folder that the caller holds is not asked for again.
# DISTIL_LOCKS in the environment: the locks that are held, each between colons.
set -u
folder=$1
shift
real=$(readlink -m "$folder")
lock=${real%/*}/.${real##*/}.lock
held=${DISTIL_LOCKS:-:}
case $held in *":$lock:"*) exec "$@" ;; esac

# Take and describe a lock
# take OPTIONS COMMAND...: becomes COMMAND if flock, with these options, takes the lock;
# returns if somebody else has it
take() {
    flock -E 75 $1 "$descriptor"
    case $? in
    0) shift ;;
    75) return ;;
    127) refuse "expected the program flock, of the package util-linux" ;;
    *) refuse "expected a disk where flock can lock ${lock##*/}" ;;
    esac
    echo "$$ $(date "+%Y-%m-%d %H:%M:%S")" >"$lock"
    export DISTIL_LOCKS="$held$lock:"
    exec "$@"
}

# describe: puts into $owner and $who what the lock says of its owner
describe() {
    [ -s "$lock" ] || sleep 1 # it was taken, but not yet written
    read -r owner since <"$lock"
    who="process $owner, since $since"
    [ -d "/proc/$owner" ] || who="what process $owner, of $since, has left running"
}

# refuse WHY: ends with 1
refuse() {
    echo "lock: $folder: $1" >&2
    exit 1
}

# Take the lock, if nobody has it
mkdir -p "${lock%/*}" && touch "$lock" ||
    refuse "expected to write ${lock##*/} beside it"
colons=$(printf %s "$held" | tr -d -c :)
descriptor=$((9 - ${#colons}))
eval "exec $descriptor>>\"\$lock\""
take -n "$@"
# Wait for the lock, or give up
describe
if [ "${WAIT:-}" = 1 ] || [ "$held" != : ]; then
    echo "lock: $folder: waiting for $who" >&2
    take "" "$@"
elif [ ! -d "/proc/$owner" ]; then
    take "-w 5" "$@"
fi
describe
refuse "is in use by $who; WAIT=1 waits for it"

# Tangled from chapters/48-stages.md; edit there.
# usage: sh code/due.sh run RECORD KEYS PROGRAM ARGUMENT...
#        sh code/due.sh launcher
#        sh code/due.sh launched PROGRAM ARGUMENT...
#        sh code/due.sh objects BUILD COMPILER CUDA_COMPILER
# run: has PROGRAM make RECORD, unless RECORD was made from the key of its name in the
# folder KEYS, and all that it tells of is there; says why. The command is told the key.
# What the variable LAUNCH holds stands before it, and behind that RANKED: what has
# ranks do it together.
# launcher: sees that the program is here which LAUNCH names.
# launched: runs PROGRAM, on whichever machine, with the processors that it was given.
# objects: removes from BUILD what was compiled from other code or by another compiler,
# and has the times of the rest say that nothing is to be compiled.
set -u -f
export LC_ALL=C

# Put a file in its place
# copy FROM TO: makes TO the same as FROM, whole or not at all
copy() { cp "$1" "$2.new" && mv "$2.new" "$2"; }

# Run a command, and hand signals on to it
# attend COMMAND...: runs it, and has it end when this script is asked to; its status
attend() {
    "$@" </dev/null &
    child=$!
    trap 'kill $child 2>/dev/null; wait $child' HUP INT TERM
    wait $child
}

# Say why a stage is due
# Tell what has changed
# first MARK DIFF: the first line with this mark, in the first place that differs
first() {
    echo "$2" | awk -v mark="$1" '/^[0-9]/ && place++ { exit }
        $1 == mark { print substr($0, 3); exit }'
}

# changed DIFF: the first difference between the two lists
changed() {
    was=$(first '<' "$1") is=$(first '>' "$1")
    case ${is:-$was} in
    '['*) echo "${is:-${was%%=*}is no longer set}${was:+, was${was#*=}}" ;;
    code/*)
        file=${is:-$was} file=${file%% *}
        echo "$file has changed, $(grep -so 'chapters/[^;]*' "$file" | head -n 1)" ;;
    data-*) echo "the data of ${is:-$was}" | sed 's/data-//; s/ [0-9a-f]\{16,\} */ /
        s/ *-*$/ have changed/' ;;
    *) echo "${is:-$was}, was ${was#* }" ;;
    esac
}

# reason PROGRAM: why the stage is due; nothing if it is not
reason() {
    now=${key%.key}.from
    why=$("$1" due --record "$record" --key "$(cat "$key")" ${kept:+--out "$kept"}) ||
        why="its record cannot be held to its files"
    case $why in
    'it is new' | 'its record has another key')
        if [ -f "$from" ] && ! cmp -s "$from" "$now"; then
            changed "$(diff "$from" "$now")"
        elif [ -f "$from" ] && [ ! -f "$record" ]; then
            echo "it was not finished"
        else
            echo "$why"
        fi ;;
    *) echo "$why" ;;
    esac
}

# Find the launcher
# launch_words: the words of LAUNCH, each on a line; fails if a quote does not end
launch_words() { printf '%s\n' "$LAUNCH" | xargs -r printf '%s\n' 2>/dev/null; }

# find_launcher: puts the words of LAUNCH, each quoted, into $launcher; ends with 1,
# saying why, if they are none or their program is not here
find_launcher() {
    words=$(launch_words) || {
        echo "LAUNCH: expected a closing quote on the same line, found $LAUNCH" >&2
        exit 1
    }
    program=$(printf '%s\n' "$words" | grep -v '^[A-Za-z_][A-Za-z_0-9]*=' | head -n 1)
    [ -x "$(command -v "${program:-env}")" ] || {
        echo "LAUNCH: expected a program, found $program, which is not here" >&2
        exit 1
    }
    launcher=$(launch_words | sed "s/'/'\\\\''/g; s/.*/'&'/" | tr '\n' ' ')
}

case $1 in
run)
    # Run a stage if it is due
    record=$2 keys=$3 from=${2%.json}.from name=$(basename "$2" .json) kept= before=
    key=$keys/$name.key
    shift 3
    for word; do
        [ "$before" != --out ] || kept=$word
        before=$word
    done
    why=$(reason "$1")
    [ -n "$why" ] || exit 0
    trainer=$1
    set -- "$@" --key "$(cat "$key")"
    # Put the launcher before the command
    if [ -n "${LAUNCH:-}" ]; then
        find_launcher
        unset OMP_NUM_THREADS SLURM_CPUS_PER_TASK SLURM_CPUS_ON_NODE SLURM_STEP_NUM_TASKS
        set -- sh code/due.sh launched ${RANKED:-} "$@"
        eval "set -- env SLURM_JOB_NAME=$name $launcher \"\$@\""
    else
        set -- ${RANKED:-} "$@"
    fi
    echo "due: $name: $why" >&2
    "$trainer" left --run "${record%/stages/*}" --keys "$keys" --name "$name" |
        sed 's/^/plan: /' >&2
    mkdir -p "$(dirname "$record")"
    rm -f "$record"
    copy "${key%.key}.from" "$from"
    # Run the command, and say what has ended it
    attend "$@" 2>&"${DISTIL_STDERR:-2}"
    status=$?
    [ $status -le 128 ] || echo "due: $name: signal" \
        "$((status - 128)) has ended it; the next make goes on with it" >&2
    exit $status
    ;;
launcher) find_launcher ;;
launched)
    # Run a stage with the processors that it was given
    shift
    [ "${SLURM_STEP_NUM_TASKS:-1}" = 1 ] || {
        echo "LAUNCH: expected one task for a stage, as by srun -n1;" \
            "found $SLURM_STEP_NUM_TASKS" >&2
        exit 1
    }
    threads=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-$(nproc)}}
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$threads}"
    exec "$@"
    ;;
objects)
    # Hold the objects to the code
    built=$2 note=$2/compiled.from
    set +f
    mkdir -p "$built"
    {
        echo "compiler $3"
        echo "code/kernels_cuda.cu $4"
        sha256sum code/*.[ch] code/*.cu | awk '{ print $2, $1 }'
    } >"$note.new"
    [ -f "$note" ] || rm -f "$built"/*.o
    changes=$(diff -N "$note" "$note.new" | awk '/^[<>]/ { print $2 }' | sort -u)
    if [ -n "$changes" ]; then
        # Remove the objects of what has changed
        for file in $changes; do
            case $file in
            compiler) rm -f "$built"/*.o ;;
            *.cu | *.h) rm -f "$built/kernels_cuda.o" ;;
            esac
            for list in $(grep -slF "$file" "$built"/*.d "$built"/tests/*.d); do
                rm -f "${list%.d}.o"
            done
        done
        rm -f "$built/distil"
        for list in "$built"/tests/*.d; do rm -f "${list%.d}"; done # the tests' programs
    else
        # Let the times agree
        find "$built" -maxdepth 1 -name '*.o' -newer "$built/distil" \
            -exec touch -r "$built/distil" {} + 2>/dev/null
        oldest=$(ls -tr "$built"/*.o 2>/dev/null | head -n 1)
        [ -z "$oldest" ] || find code -type f -newer "$oldest" -exec touch -r "$oldest" {} +
    fi
    mv "$note.new" "$note"
    ;;
esac

# Tangled from chapters/50-stages.md; edit there.
# usage: sh code/due.sh key KEY SETTINGS SECTIONS CODE KEYS [--SECTION.SETTING VALUE...]
#        sh code/due.sh run RECORD KEY COMMAND...
#        sh code/due.sh objects BUILD COMPILER CUDA_COMPILER
# key: writes what a stage is made from into KEY with the ending .from, and the sum of
# that into KEY, unless it is there: these SECTIONS of the profile, their overrides, the
# files of CODE, and other KEYS, each list in one word.
# run: has COMMAND, which begins with the program, make RECORD, unless RECORD was made
# from KEY and all that it tells of is there; says why. KEPT in the environment: a
# folder that COMMAND makes, too; RANKED: what has ranks do COMMAND together.
# objects: removes from BUILD what was compiled from other code or by another compiler,
# and has the times of the rest say that nothing is to be compiled.
set -u -f
export LC_ALL=C

# Put a file in its place
# replace NEW FILE: gives NEW the name FILE, unless FILE is there and the same
replace() { if cmp -s "$1" "$2"; then rm -f "$1"; else mv "$1" "$2"; fi; }

# copy FROM TO: makes TO the same as FROM, whole or not at all
copy() { cp "$1" "$2.new" && mv "$2.new" "$2"; }

# List what a stage is made from
# List the settings of some sections
idle='^(tasks|models|extended|seeds|jobs|checkpoint)$'

# settings FILE SECTIONS: the settings of these sections, without comments
settings() {
    awk -v sections="$2" -v idle="$idle" '
        { sub(/[#].*/, "") }
        /^\[/ {
            section = $1
            inside = index(sections, " " substr(section, 2, length(section) - 2) " ")
            next
        }
        /^[^ \t]/ { name = $0; sub(/[ \t]*=.*/, "", name) }
        inside && NF && name !~ idle { $1 = $1; print section, $0 }' "$1"
}

# overrides SECTIONS [--SECTION.SETTING VALUE...]: the same of what overrides them
overrides() {
    sections=" $1 "
    shift
    while [ $# -gt 1 ]; do
        section=${1%%.*} setting=${1#*.}
        case $sections in *" ${section#--} "*)
            echo "$setting" | grep -qE "$idle" ||
                printf '[%s] %s = %s\n' "${section#--}" "$setting" "$2" ;;
        esac
        shift 2
    done
}

# made_from SETTINGS SECTIONS CODE KEYS OVERRIDE...: a line for each thing
made_from() {
    settings "$1" " $2 "
    list=$2 code=$3 keys=$4
    shift 4
    overrides "$list" "$@"
    sha256sum $code | awk '{ print $2, substr($1, 1, 16) }'
    awk '{ name = FILENAME; sub(/.*\//, "", name); sub(/\.key$/, "", name)
           print name, $0 }' $keys /dev/null
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

case $1 in
key)
    # Write the key of a stage
    key=$2 from=${2%.key}.from
    shift 2
    mkdir -p "$(dirname "$key")"
    made_from "$@" >"$from.new"
    sha256sum <"$from.new" | cut -c 1-16 >"$key.new"
    replace "$from.new" "$from"
    replace "$key.new" "$key"
    ;;
run)
    # Run a stage if it is due
    record=$2 key=$3 from=${2%.json}.from kept=${KEPT:-}
    shift 3
    why=$(reason "$1")
    [ -n "$why" ] || exit 0
    echo "due: $(basename "$record" .json): $why" >&2
    mkdir -p "$(dirname "$record")"
    rm -f "$record"
    copy "${key%.key}.from" "$from"
    ${RANKED:-} "$@"
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

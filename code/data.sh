# Tangled from chapters/30-data.md; edit there.
# usage: sh code/data.sh VIEW KEYS LABEL:WANT... LABEL?:WANT...
# Makes VIEW a folder of links to the files that are wanted, and KEYS/data-LABEL.key
# the sums of each label's files. Fetches and unpacks what is due. If a file of LABEL
# cannot be had, it says so, changes neither, and exits with 1. If one of LABEL? cannot,
# it says so and leaves the label out: nothing of it in VIEW, no key, and a line in
# KEYS/missing: the label, a tab, and a sentence for people. All wants of one label are
# either needed or optional. `make data` calls it.
set -u -f
export LC_ALL=C

# Say where the data lies
view=$1 keys=$2
shift 2
given=${DATA_DIR:-}
mirror=${DATA_MIRROR:-}
store=${DATA_STORE:-data}
derived=${DATA_DERIVED:-build/data}
patience=${DATA_PATIENCE:-30} # seconds without a byte, after which a home is given up
sources=${DATA_SOURCES:-code/data.sources}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$derived" "$keys"
touch "$derived/sums"
for list in said dead plan needed optional; do : >"$work/$list"; done

# say MESSAGE: on standard error, once
say() {
    grep -qxF "$1" "$work/said" && return
    echo "$1" >>"$work/said"
    echo "data: $1" >&2
}

# Ask the list of homes
sed -e ':a' -e '/\\$/{N;s/\\\n *//;ba' -e '}' "$sources" | awk '
    $1 == "place" { at[$2] = at[$2] " " $3 }
    $1 == "home" && split($2, part, "/") && (part[1] in at) {
        count = split(at[part[1]], each, " ")
        for (i = 1; i <= count; i++)
            print $1, each[i] substr($2, length(part[1]) + 1)
        next
    }
    { print }' >"$work/sources"

# ways NAME: the files that a name stands for, a line for each way to have them
ways() {
    awk -v name="$1" '
        $1 == "name" && $2 == name { $1 = $2 = ""; print; known = 1 }
        END { if (!known) print name }' "$work/sources"
}

# facts FILE WORD: what the list says of a file: its sha256, home, gives or joins
facts() {
    awk -v file="$1" -v word="$2" '
        $1 == "file" { inside = $2 == file }
        inside && $1 == word { $1 = ""; print substr($0, 2) }' "$work/sources"
}

# archives FILE: the archives that give the file
archives() {
    awk -v file="$1" '
        $1 == "file" { archive = $2 }
        $1 == "gives" { for (i = 2; i <= NF; i++) if ($i == file) print archive }
        ' "$work/sources"
}

# Sum up a file or a folder
# sum FILE: puts its SHA-256 into $sum, and into $new whether it was not known before
sum() {
    # Note what the disk knows of it
    if [ -d "$1" ]; then
        state=$(find -L "$1" -type f -printf '%P %s %T@ %C@ %i\n' | sort | sha256sum)
    else
        state=$(stat -L -c '%s %.9Y %.9Z %i' "$1")
    fi
    line="$state $1"
    sum=$(line=$line awk '
        substr($0, 66) == ENVIRON["line"] { sum = substr($0, 1, 64) }
        END { print sum }' "$derived/sums")
    new=no
    [ -z "$sum" ] || return 0
    new=yes
    # Take its sum anew
    if [ -d "$1" ]; then
        sum=$(cd "$1" && find -L . -type f | sort | tr '\n' '\0' | xargs -0 sha256sum |
            sha256sum | cut -c 1-64)
    else
        sum=$(sha256sum <"$1" | cut -c 1-64)
    fi
    echo "$sum $line" >>"$derived/sums"
}

# Hold a file to its sum
# expected LISTED PLACE: the sum that a file of the list should have there; or nothing
expected() {
    published=$(facts "$1" sha256)
    [ -n "$published" ] || [ "$2" != "$store" ] || [ ! -f "$store/SHA256SUMS" ] ||
        published=$(awk -v file="$1" '$2 == file { print $1 }' "$store/SHA256SUMS")
    echo "$published"
}

# record LISTED SUM: notes a sum, unless it is noted
record() {
    touch "$store/SHA256SUMS"
    grep -qxF "$2  $1" "$store/SHA256SUMS" && return
    { awk -v file="$1" '$2 != file' "$store/SHA256SUMS"; echo "$2  $1"; } |
        sort -k 2 >"$store/SHA256SUMS.partial"
    mv "$store/SHA256SUMS.partial" "$store/SHA256SUMS"
}

# check FILE LISTED PLACE: puts the sum of the file into $sum; fails if it is wrong
check() {
    sum "$1"
    right=$(expected "$2" "$3")
    if [ "$sum" != "${right:-$sum}" ] && [ "$3" = "$store" ]; then
        say "$1: expected sha256 $right, found $sum; remove it, and it is fetched again"
        return 1
    elif [ "$sum" != "${right:-$sum}" ]; then
        [ $new = no ] ||
            say "$1: has sha256 $sum, where $right is published; used all the same"
    elif [ "$3" = "$store" ] && [ -f "$1" ]; then
        record "$2" "$sum"
    fi
}

# Wait if a server asks for it
longest_wait=120 # seconds

# wait_as_asked STATUS HEADERS ADDRESS: sleeps as long as Retry-After says; fails if it
# says nothing, or too much
wait_as_asked() {
    case $1 in 429 | 503) ;; *) return 1 ;; esac
    when=$(tr -d '\r' <"$2" | sed -n 's/^[Rr]etry-[Aa]fter: *//p' | tail -n 1)
    case $when in
    '') return 1 ;;
    *[!0-9]*)
        when=$(date -d "$when" +%s 2>/dev/null) || return 1
        when=$((when - $(date +%s)))
        ;;
    esac
    [ "$when" -le $longest_wait ] && [ "$when" -gt -$longest_wait ] || return 1
    say "$3 asks to be left alone for $when seconds"
    [ "$when" -le 0 ] || sleep "$when"
}

# Download a file from one home
bytes() { if [ -f "$1" ]; then stat -c %s "$1"; else echo 0; fi; }

# download HOME FILE: makes $partial the whole file, as far as HOME has it; $resumed
# tells whether it goes on with what an earlier attempt had left
download() {
    partial=$store/$2.$(echo "$1" | cksum | cut -d ' ' -f 1).partial
    mkdir -p "$(dirname "$partial")"
    resumed=$(bytes "$partial") ranges=yes attempt=0 waits=0
    while [ $attempt -lt 20 ]; do
        attempt=$((attempt + 1))
        before=$(bytes "$partial")
        # Ask the home for the rest of the file
        http=$(curl --fail --location $quiet --connect-timeout 5 --speed-limit 1 \
            --speed-time "$patience" --continue-at - --output "$partial" \
            --dump-header "$work/headers" --write-out '%{http_code}' "$1" </dev/null)
        status=$?
        [ $status != 0 ] || return 0
        after=$(bytes "$partial")
        # See whether another attempt is worth it
        if [ "$before" -gt 0 ] && { [ $status = 33 ] || [ "$http" = 416 ]; }; then
            rm -f "$partial"
            ranges=no
        elif [ $waits -lt 3 ] && wait_as_asked "$http" "$work/headers" "$1"; then
            waits=$((waits + 1))
        elif [ "$after" -le "$before" ] || [ $ranges = no ]; then
            [ "$http" != 000 ] || echo "$1" | cut -d / -f 3 | grep . >>"$work/dead"
            break
        fi
    done
    [ -s "$partial" ] || rm -f "$partial"
    return 1
}

# on a terminal a bar, in a log only what goes wrong
quiet='--silent --show-error'
[ ! -t "${DISTIL_STDERR:-2}" ] || quiet=--progress-bar

# Accept what was downloaded, or refuse it
# accept FILE HOME: $partial becomes the file
accept() {
    sum=$(sha256sum <"$partial" | cut -c 1-64)
    right=$(expected "$1" "$store")
    if [ "$sum" != "${right:-$sum}" ]; then
        say "$1: expected sha256 $right, found $sum, from $2"
    elif [ -z "$right" ] && head -c 200 "$partial" | grep -qi '<!doctype\|<html'; then
        say "$1: expected the file, found a web page, from $2"
    else
        record "$1" "$sum"
        mv "$partial" "$store/$1"
        rm_partials "$1"
        return 0
    fi
    rm -f "$partial"
    return 1
}

# rm_partials FILE: removes what other homes have left of it
rm_partials() {
    set +f
    rm -f "$store/$1".*.partial
    set -f
}

# Fetch a file from one home after the other
# homes FILE: the addresses where it can be had
homes() {
    [ -z "$mirror" ] || echo "${mirror%/}/$1"
    facts "$1" home
}

# fetch FILE: makes the file of that name in the store
fetch() {
    [ ! -e "$store/$1" ] || return 1
    for home in $(homes "$1"); do
        host=$(echo "$home" | cut -d / -f 3)
        [ -z "$host" ] || ! grep -qxF "$host" "$work/dead" || continue
        echo "data: $1 from $home"
        download "$home" "$1" || continue
        accept "$1" "$home" && return
        [ "$resumed" -gt 0 ] && download "$home" "$1" && accept "$1" "$home" && return
    done
    return 1
}

# Unpack an archive, whole or not at all
# derive COMMAND FROM TO: has COMMAND make TO.partial from the file FROM, whose sum is
# $sum, and gives it its name; not if TO was made from the same before
derive() {
    made=$derived/$3
    [ "$(cat "$made.sum" 2>/dev/null)" != "$sum" ] || [ ! -e "$made" ] || return 0
    rm -rf "$made" "$made.partial" "$made.sum"
    mkdir -p "$(dirname "$made")"
    echo "data: unpacking $2"
    if "$1" "$2" "$made.partial" </dev/null; then
        mv "$made.partial" "$made"
        echo "$sum" >"$made.sum"
    else
        say "$2: could not be unpacked"
        rm -rf "$made.partial"
        return 1
    fi
}

unpack() {
    mkdir "$2"
    case $1 in
    *.zip) unzip -q "$1" -d "$2" ;;
    *) tar xf "$1" -C "$2" --no-same-owner ;;
    esac
}

expand() { xz -dc "$1" >"$2"; }

# one text to a line, in the order of the numbers that they are called by
join_lines() { ls "$1" | sort -n | (cd "$1" && xargs awk 1) >"$2"; }

# Look for a file in one place
# spellings FILE: its name, and the name without the folder that some leave out
spellings() {
    echo "$1"
    case $1 in glue/* | imdb/* | squad/*) echo "$1" | cut -d / -f 2- ;; esac
}

# look PLACE FILE: puts where the file is into $found, and the sum of what it is made
# from into $sum
look() {
    # Take it as it is, or compressed
    for name in $(spellings "$2"); do
        found=$1/$name
        [ -e "$found" ] && check "$found" "$2" "$1" && return
        [ -f "$found.xz" ] && check "$found.xz" "$2.xz" "$1" &&
            derive expand "$found.xz" "$2" && found=$made && return
    done
    # Take it from an archive
    for archive in $(archives "$2"); do
        for name in $(spellings "$archive"); do
            [ -f "$1/$name" ] && check "$1/$name" "$archive" "$1" &&
                derive unpack "$1/$name" "$archive" || continue
            found=$(echo "$archive" | sed 's:[^/]*$::') # the folder of the archive
            found=$made/${2#"$found"}
            [ -e "$found" ] && return
            say "$1/$name: expected $2 in it"
        done
    done
    # Join it from a folder
    folder=$(facts "$2" joins)
    [ -n "$folder" ] && look "$1" $folder && derive join_lines "$found" "$2" &&
        found=$made
}

# Find a file, or all that fit a pattern
# find_file FILE: looks in all places; with $fetching, fetches it or an archive of it
find_file() {
    for place in "$given" "$store"; do
        [ -n "$place" ] && look "$place" "$1" && return
    done
    [ $fetching = yes ] || return 1
    for source in $(archives "$(facts "$1" joins | grep . || echo "$1")") "$1"; do
        fetch "$source" && look "$store" "$1" && return
    done
    return 1
}

# each PATTERN: the files of all places that fit it, compressed or not
each() {
    set +f
    for place in "$given" "$store"; do
        [ -z "$place" ] || (cd "$place" 2>/dev/null && ls -d $1 $1.xz 2>/dev/null)
    done | sed 's/\.xz$//' | sort -u
    set -f
}

# Meet a want
# have FILE...: notes for each file its label, name, sum and place in $work/had
have() {
    : >"$work/had"
    for file; do
        case $file in
        *'*'*) each "$file" >"$work/files" ;;
        *) echo "$file" >"$work/files" ;;
        esac
        [ -s "$work/files" ] || return 1
        for one in $(cat "$work/files"); do
            find_file "$one" || return 1
            printf '%s\t%s\t%s\t%s\n' "$label" "$one" "$sum" "$(readlink -f "$found")" \
                >>"$work/had"
        done
    done
}

# meet WANT: adds to the plan the files of the first alternative that can be had
meet() {
    for fetching in no yes; do
        for alternative in $(echo "$1" | tr '|' ' '); do
            ways "$alternative" >"$work/ways"
            while read -r way; do
                have $way && cat "$work/had" >>"$work/plan" && return
            done <"$work/ways"
        done
    done
    return 1
}

# List what would meet a want
# lacking WANT: lines of `way FILES`, `file FILE`, `packed ARCHIVE` and `home ADDRESS`,
# with a tab after the first word
lacking() {
    fetching=no
    for alternative in $(echo "$1" | tr '|' ' '); do ways "$alternative"; done |
    while read -r way; do
        printf 'way\t%s\n' "$way"
        for file in $way; do
            have "$file" >&2 && continue
            printf 'file\t%s\n' "$file"
            for source in $(archives "$file") "$file"; do
                [ "$source" = "$file" ] || printf 'packed\t%s\n' "$source"
                facts "$source" home | sed 's/^/home\t/'
            done
        done | awk '!seen[$0]++'
    done
}

# Say what is missing and where it should be
# complain HEADING LIST: says what the wants of the list lack, each `LABEL WANT`
complain() {
    say "$1"
    while IFS=$(printf '\t') read -r label want; do
        lacking "$want" | awk -F '\t' -v begin="$label:" '
            $1 == "way" { print "  " begin, $2; begin = "or" }
            $1 == "packed" { print "      packed as", $2 }
            $1 == "home" { print "      from", $2 }' >&2
    done <"$2"
}

advise() {
    say "put it into $store/, or into a folder of your own and give DATA_DIR=FOLDER:"
    say "files and archives alike, in the folders shown; or give DATA_MIRROR=URL"
    silent=$(sort -u "$work/dead" | xargs)
    [ -z "$silent" ] || say "there was no answer from $silent"
    command -v curl >/dev/null || say "curl is not installed; make deps installs it"
}

# Put into words what is missing
# sentence: of the wants `LABEL WANT` on standard input, all of one label
sentence() {
    while IFS=$(printf '\t') read -r label want; do
        echo want
        lacking "$want"
    done | awk -F '\t' '
        $1 == "want" { join = ", and "; ways = 0 }
        $1 == "way" && ways++ { join = ", or " }
        $1 == "file" { files = files (files ? join : "") $2; join = ", " }
        $1 == "home" && !seen[$2]++ { homes = homes (homes ? ", or " : "") $2 }
        END {
            if (homes) print "Missing: " files "; may be found at " homes "."
            else print "Missing: " files "; no home of it is known."
        }'
}

# describe_missing: a line for each label that is left out
describe_missing() {
    for label in $(cut -f 1 "$work/optional" | sort -u); do
        awk -F '\t' -v label="$label" '$1 == label' "$work/optional" >"$work/wants"
        printf '%s\t%s\n' "$label" "$(sentence <"$work/wants")"
    done
}

# Lay out the files for the run
replace() { if cmp -s "$1" "$2"; then rm -f "$1"; else mv "$1" "$2"; fi; }

# show FILE LINK: makes LINK a link to the file or folder, or a copy of it
show() {
    ln -s "$1" "$2" 2>/dev/null && return
    say "no links can be made in $(dirname "$view"), so the data is copied there"
    cp -RL "$1" "$2" || { rm -rf "$view.partial"; exit 1; }
}

# forget LABEL: leaves it out
forget() {
    awk -F '\t' -v label="$1" '$1 != label' "$work/plan" >"$work/plan.new"
    mv "$work/plan.new" "$work/plan"
    rm -f "$keys/data-$1.key"
}

lay_out() {
    cut -f 2- "$work/plan" | sort -u >"$work/view"
    # Make the folder anew if a file is another
    if ! cmp -s "$work/view" "$view.list"; then
        rm -rf "$view.partial" "$view.list"
        mkdir -p "$view.partial"
        while IFS=$(printf '\t') read -r file sum target; do
            mkdir -p "$view.partial/$(dirname "$file")"
            show "$target" "$view.partial/$file"
        done <"$work/view"
        rm -rf "$view"
        mv "$view.partial" "$view"
        cp "$work/view" "$view.list"
    fi
    # Write the keys of the labels, and of all
    for label in $(cut -f 1 "$work/plan" | sort -u); do
        awk -F '\t' -v label="$label" '$1 == label { print $3, $2 }' "$work/plan" |
            sort -u >"$keys/data-$label.key.new"
        replace "$keys/data-$label.key.new" "$keys/data-$label.key"
    done
    cut -f 2,3 "$work/plan" | sort -u >"$keys/data.key.new"
    replace "$keys/data.key.new" "$keys/data.key"
}

# Meet every want
for want; do
    label=${want%%:*}
    case $label in *'?') list=optional ;; *) list=needed ;; esac
    label=${label%'?'}
    meet "${want#*:}" || printf '%s\t%s\n' "$label" "${want#*:}" >>"$work/$list"
done
[ ! -s "$work/needed" ] ||
    complain "not all is there that this run needs:" "$work/needed"
[ ! -s "$work/optional" ] ||
    complain "what cannot be had is left out, and asked for the next time:" \
        "$work/optional"
if [ -s "$work/needed" ] || [ -s "$work/optional" ]; then advise; fi
if [ -s "$work/needed" ]; then
    say "or do without, by a copy of the profile that lists fewer tasks and models"
    exit 1
fi
for label in $(cut -f 1 "$work/optional"); do forget "$label"; done
lay_out
describe_missing >"$keys/missing.new"
replace "$keys/missing.new" "$keys/missing"

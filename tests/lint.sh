# What no compiler minds and a reader would: long lines, left-over marks, paths of one machine, careless C.
set -u
failed=0
complain() {
    if [ -n "$2" ]; then
        echo "not ok - $1"
        echo "$2" | sed 's/^/    /' | head -n 20
        failed=1
    else
        echo "ok - $1"
    fi
}

# the book has room for 88 columns of code; what is longer would be broken where nobody chose to
complain "prose keeps to 120 columns and code to 88" "$(awk '
    /^ ? ? ?(```|~~~)/ { code = !code } { gsub(/[\200-\277]/, "") }
    length > (code ? 88 : 120) && !/^\|/ && !/https?:/ { print FILENAME ":" FNR ": " length " columns" }' chapters/*.md)"
# how finely the book is cut: a line for each chunk, of its lines, whether prose stands before it, its place and its name.
# A heading is no prose: it does not say why
chunks=$(awk '
    FNR == 1 { fence = ""; told = 0 }
    fence != "" { # inside of a block: until a fence of its kind, at least as long, that stands alone
        text = $0; gsub(/^ *| *$/, "", text)
        if (text ~ "^" fence substr(fence, 1, 1) "*$") {
            fence = ""; if (named) print lines "\t" told "\t" place "\t" name; told = told && !named }
        else if (first) {
            named = language && /^ *<<.*>>[+]?= *$/; first = lines = 0; place = FILENAME ":" FNR
            name = text; gsub(/^<<|>>[+]?=$/, "", name) }
        else lines++
        next }
    match($0, /^ ? ? ?(```+|~~~+)/) {
        fence = substr($0, RSTART, RLENGTH); language = /[`~] *[a-z]/; gsub(/ /, "", fence); first = 1; named = 0; next }
    NF && !/^(#|:::)/ { told = 1 }' chapters/*.md)
echo "# $(echo "$chunks" | sort -n | awk -F '\t' '
    { size[NR] = $1 }
    function at(part) { return size[int((NR - 1) * part + 0.5) + 1] }
    END { printf "%d chunks of %d lines in the median, %d at the 90th percentile, %d at most",
        NR, at(0.5), at(0.9), size[NR] }')"
complain "a chunk is one step, with its reason before it" "$(echo "$chunks" | awk -F '\t' '
    !$2 { print $3 ": " $4 ": no prose before it" }
    $1 > 40 { print $3 ": " $4 ": " $1 " lines, more than 40" }')"

complain "no line ends in white space" "$(grep -nE '[ 	]+$' chapters/*.md Makefile README.md tests/*.c tests/*.cc tests/cuda/*.h tests/*.sh)"
complain "nothing is marked as left to do" "$(grep -nE 'TODO|FIXME|XXX[^X]' chapters/*.md tests/*.c tests/*.cc tests/cuda/*.h tests/*.sh Makefile | grep -v 'lint.sh\|XXXXXX')"
complain "no path of one machine" "$(grep -nE '/home/|/root/|/opt/|/work/' chapters/*.md tests/*.c tests/*.cc tests/cuda/*.h tests/*.sh tests/*/*.py Makefile README.md | grep -v 'tests/lint.sh')"
# the weaver counts first-level headings; a chapter is known by its file, whose number has to be the same
complain "chapters are numbered from 01 on, as the weaver counts them" "$(awk '
    FNR == 1 { code = 0; if (FILENAME !~ sprintf("/%02d-", ++files)) print FILENAME ": expected number " files }
    /^ ? ? ?(```|~~~)/ { code = !code }
    !code && /^# / && !/[.]unnumbered/ && ++headings != files { print FILENAME ":" FNR ": chapter " headings " of the book" }
    END { if (headings != files) print files " files, " headings " chapters" }' chapters/*.md)"
complain "where a chapter is named, it is there" "$(grep -noE '[0-9][0-9]-[a-z-]+[.]md' README.md Makefile chapters/*.md tests/*.sh |
    while IFS=: read -r file line name; do [ -f "chapters/$name" ] || echo "$file:$line: $name"; done)"
complain "links between chapters lead where they say" "$(lua5.4 tests/links.lua chapters/[0-9]*.md)"
# a run has some of them, so that a woven book (tests/pages.sh) does not show what all would
complain "each table and figure is mentioned above it, in its section" "$(awk '
    FNR == 1 { code = 0 } /^ ? ? ?(```|~~~)/ { code = !code } code { next } FNR == 1 || /^#/ { split("", told) }
    match($0, /[{][^{}]*#(tbl|fig):[a-z-]+/) {
        name = substr($0, RSTART, RLENGTH); sub(/.*#/, "", name); gsub(/`[^`]*`/, "")
        if (!(name in told)) print FILENAME ":" FNR ": " name }
    { while (match($0, /[{][{][TtFf](bl|ig):[a-z-]+[}][}]/)) {
        told[tolower(substr($0, RSTART + 2, 1)) substr($0, RSTART + 3, RLENGTH - 5)]; $0 = substr($0, RSTART + RLENGTH) } }' chapters/*.md)"
complain "no chapter is named by a number alone, and a link says the number of its file" "$(
    grep -nE '[Cc]hapters? [0-9]' README.md Makefile chapters/*.md tests/*.sh tests/*.c | grep -vE '[[][Cc]hapter [0-9]+]\('
    grep -noE '[[][Cc]hapter [0-9]+]\([^)]*' README.md chapters/*.md |
        awk '{ match($0, /hapter [0-9]+/); text = substr($0, RSTART + 7, RLENGTH - 7)
            if (!match($0, /[0-9][0-9]-[a-z-]+[.]md/) || substr($0, RSTART, 2) + 0 != text + 0) print }')"
# the table in the appendix has the beginnings of keys in its first column
complain "every value of a run has a row that says where it is from" "$(
    sed -n 's/^  "\([a-z0-9]*\)": {.*/\1./p' chapters/published.json >build/beginnings
    sed -n '/^| keys /,/^$/s/^| \(`[^|]*\) |.*/\1/p' chapters/69-reproducibility.md | grep -oE '[a-z.-]+' >>build/beginnings
    awk 'FNR == 1 { code = 0 } /^ ? ? ?(```|~~~)/ { code = !code; next } code { next } { gsub(/`[^`]*`/, "") }
        { while (match($0, /[{][{][a-z][a-z0-9.-]*[}][}]/)) { print FILENAME, substr($0, RSTART + 2, RLENGTH - 4); $0 = substr($0, RSTART + RLENGTH) } }
    ' chapters/*.md | sort -u | grep -v ' n$' |
    awk 'NR == FNR { begin[$1]; next } { for (b in begin) if (index($2, b) == 1) next; print $1 ": " $2 }' build/beginnings -)"
complain "code/ is what the chapters say" "$(lua5.4 tests/tangle.lua -o build/lint chapters/*.md && for f in code figures; do
    [ ! -d build/lint/$f ] || diff -rq build/lint/$f $f; done)"
complain "a checkout has the bytes that were committed, even where lines end in two" "$(git -c core.autocrlf=true archive HEAD |
    tar -xO --wildcards '*.md' '*.sh' '*.c' '*.settings' Makefile | grep -c "$(printf '\r')$" | grep -vx 0)"
# cppcheck takes every loop for one that may not run, and then fears for the logarithm of the sum after it
complain "cppcheck finds nothing" "$(cppcheck --quiet --std=c11 --language=c --enable=warning,portability \
    --suppress=missingIncludeSystem --suppress=invalidFunctionArg code/*.c 2>&1)"
exit $failed

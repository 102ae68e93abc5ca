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
complain "no line ends in white space" "$(grep -nE '[ 	]+$' chapters/*.md Makefile README.md tests/*.c tests/*.cc tests/cuda/*.h tests/*.sh)"
complain "nothing is marked as left to do" "$(grep -nE 'TODO|FIXME|XXX[^X]' chapters/*.md tests/*.c tests/*.cc tests/cuda/*.h tests/*.sh Makefile | grep -v 'lint.sh\|XXXXXX')"
complain "no path of one machine" "$(grep -nE '/home/|/root/|/opt/|/work/' chapters/*.md tests/*.c tests/*.cc tests/cuda/*.h tests/*.sh tests/*/*.py Makefile README.md | grep -v 'tests/lint.sh')"
complain "code/ is what the chapters say" "$(lua5.4 tests/tangle.lua -o build/lint chapters/*.md && for f in code figures; do
    [ ! -d build/lint/$f ] || diff -rq build/lint/$f $f; done)"
complain "a checkout has the bytes that were committed, even where lines end in two" "$(git -c core.autocrlf=true archive HEAD |
    tar -xO --wildcards '*.md' '*.sh' '*.c' '*.settings' Makefile | grep -c "$(printf '\r')$" | grep -vx 0)"
# cppcheck takes every loop for one that may not run, and then fears for the logarithm of the sum after it
complain "cppcheck finds nothing" "$(cppcheck --quiet --std=c11 --language=c --enable=warning,portability \
    --suppress=missingIncludeSystem --suppress=invalidFunctionArg code/*.c 2>&1)"
exit $failed

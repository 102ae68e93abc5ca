# Fences, nested at random: tests/fences.lua has pandoc, the tangler and the independent one read the same chapters.
set -u
. tests/check.sh

cd "$folder" || exit 1
TANGLE=$root/${BUILD:-build}/tangle TANGLE_LUA=$root/tests/tangle.lua \
    pandoc --lua-filter "$root/tests/fences.lua" /dev/null >said.all 2>messages
check "all chapters were read" grep -q '[0-9] refused$' said.all
check "pandoc and both tanglers see the same chunks, or the tangler says where not" same "$(sed '$d' said.all | head -n 30)" ""
check "more than a hundred chapters of chunks are taken" test "$(awk 'END { print $1 }' said.all)" -gt 100
check "and more than a hundred are refused" test "$(awk 'END { print $(NF - 1) }' said.all)" -gt 100
exit $failed

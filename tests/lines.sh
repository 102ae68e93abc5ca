# The compiler's view of the compiled form: whatever stands between, each line of code is where the chapter has it.
set -u
. tests/check.sh
tangle=$root/${BUILD:-build}/tangle

cd "$folder" || exit 1
lua5.4 "$root/tests/lines.lua"
check "chapters of code that says where it stands tangle" "$tangle" --lines lines 1.md 2.md
for file in code/*.c; do
    cc -E -w "$file" | grep -o 'at_[0-9_]*' >"$file.seen"
    cc -E -w "lines/${file#code/}" | awk -v file="$file" '
        /^# [0-9]+ "/ { number = $2; chapter = $3; gsub(/[^0-9]/, "", chapter); next }
        match($0, /at_[0-9_]+/) {
            found = substr($0, RSTART, RLENGTH)
            print found
            if (found != "at_" chapter "_" number) print file ": " found " is said to be at " chapter "_" number >"/dev/stderr"
        }
        { number++ }' 2>>wrong >"$file.said"
    cmp "$file.seen" "$file.said" >>wrong 2>&1
done
check "the compiler sees more than a thousand lines" test "$(cat code/*.seen | wc -l)" -gt 1000
check "as many as in the committed form, and each where the chapter has it" same "$(head -n 20 wrong)" ""
exit $failed

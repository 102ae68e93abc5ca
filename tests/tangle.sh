# The tangler. First its golden cases: each folder of tests/tangle/ holds chapters, perhaps the arguments to call the
# tangler with, and in `expected` its messages, its exit status and every file that it wrote. What succeeds must come
# out the same from the independent tangler tests/tangle.lua. Then what a folder cannot say.
set -u
. tests/check.sh
tangle=$root/${BUILD:-build}/tangle

transcript() {
    "$tangle" "$@"
    echo "exit status $?"
    find . -type f ! -name '*.md' | LC_ALL=C sort | while read -r file; do
        echo "--- $file"
        cat "$file"
    done
}

# both_agree DIR CHAPTER …: the Lua tangler makes what lies in DIR/code and DIR/figures
both_agree() {
    made=$1
    shift
    rm -rf "$folder/lua"
    mkdir -p "$folder/lua"
    lua5.4 "$root/tests/tangle.lua" -o "$folder/lua" "$@" || return 1
    for part in code figures; do
        mkdir -p "$made/$part" "$folder/lua/$part"
        diff -r "$folder/lua/$part" "$made/$part" || return 1
    done
}

for case in tests/tangle/*/; do
    name=$(basename "$case")
    mkdir "$folder/$name"
    cp "$case"*.md "$folder/$name"
    cd "$folder/$name" || exit 1
    eval "transcript $(cat "$root/$case/arguments" 2>/dev/null || echo '*.md')" >"$folder/$name.out" 2>&1
    check "$name" diff -u "$root/$case/expected" "$folder/$name.out"
    if grep -q '^exit status 0' "$folder/$name.out"; then
        check "$name, in Lua" both_agree . *.md
    fi
    cd "$root" || exit 1
done

# fails STATUS PATTERN COMMAND …: COMMAND must end with that status and say something like PATTERN
fails() {
    status=$1 pattern=$2
    shift 2
    "$@" >"$folder/said" 2>&1
    [ $? = "$status" ] && { [ -z "$pattern" ] || grep -q "$pattern" "$folder/said"; } || { cat "$folder/said"; return 1; }
}

mkdir "$folder/odd"
cd "$folder/odd" || exit 1
check "an unknown option is refused" fails 2 'unknown option --frobnicate' "$tangle" --frobnicate a.md
check "no chapters are refused" fails 2 '^usage: ' "$tangle"
check "an option without its name is refused" fails 2 'a name must follow -o' "$tangle" a.md -o
check "--check does not write" fails 2 'writes nothing' "$tangle" --check --xref x.json a.md
check "a missing chapter is named" fails 1 '^tangle: a.md: No such file' "$tangle" a.md
check "a folder is no chapter" fails 1 '^tangle: .: Is a directory' "$tangle" .
check "--help helps" fails 0 '^  --lines DIR' "$tangle" --help
printf 'A NUL:\n\0\n' >nul.md
check "a NUL byte is refused" fails 1 '^nul.md:2: error: a NUL byte' "$tangle" nul.md
printf '```c\r\n<<code/crlf.c>>=\r\nint a;\r\n  <<More>>\r\n```\r\n\r\n```c\r\n<<More>>=\r\nint b;\r\n```' >crlf.md
"$tangle" crlf.md
check "lines may end as on Windows" same "$(tail -n +2 code/crlf.c)" "$(printf 'int a;\n  /* More */\n  int b;')"
check "lines may end as on Windows, in Lua" both_agree . crlf.md
: >empty.md
check "a chapter may be empty" fails 0 '' "$tangle" empty.md
mkdir -p blocked/code/crlf.c
check "a file that cannot be written is named" fails 1 '^tangle: blocked/code/crlf.c: ' "$tangle" -o blocked crlf.md
check "and leaves nothing half-written" same "$(ls blocked/code)" crlf.c

# drift
cd "$folder/unused" || exit 1
"$tangle" --lines lines --xref x.json 1.md 2>/dev/null
check "--check is content with what was written" fails 0 '' "$tangle" --check 1.md
touch -d 2001-01-01 code/a.c lines/a.c x.json
"$tangle" --lines lines --xref x.json 1.md 2>/dev/null
check "what would not change is not touched" same "$(find code lines x.json -newermt 2001-01-02 -type f)" ""
sed -i '1i A new first line.' 1.md
"$tangle" --lines lines --xref x.json 1.md 2>/dev/null
changed=$(find code lines x.json -newermt 2001-01-02 -type f)
check "prose moves only the compiled form" same "$changed" "$(printf 'lines/a.c\nx.json')"
sed -i 's/int a/int z/' code/a.c
echo 'by hand' >code/hand.c
check "--check names the line that drifted" fails 1 '^code/a.c:2: error: differs from 1.md:4$' "$tangle" --check 1.md
check "--check names what no chunk makes" fails 1 '^code/hand.c: error: no chunk makes' "$tangle" --check 1.md
check "--check writes nothing" grep -q 'int z' code/a.c
echo 'int more;' >>code/a.c
sed -i 's/int z/int a/' code/a.c
check "--check sees what was added at the end" fails 1 '^code/a.c:3: error: differs' "$tangle" --check 1.md
rm code/a.c
check "--check names what is missing" fails 1 '^1.md:3: error: code/a.c is missing$' "$tangle" --check 1.md
sed -i 's:code/a.c:code/b.c:' 1.md
"$tangle" --lines lines 1.md 2>/dev/null
sed -i 's:code/b.c:code/c.c:' 1.md
"$tangle" --lines lines 1.md 2>/dev/null
check "a file that lost its chunk is removed, one written by hand is not" \
    same "$(echo code/* lines/*)" "code/c.c code/hand.c lines/c.c"
cp 1.md 2.md
sed -i 's:code/c.c:code/d.c:; s:Forgotten:Forgotten, too:' 2.md
"$tangle" 2.md 2>/dev/null
check "a chapter that was not read keeps its files" same "$(echo code/*)" "code/c.c code/d.c code/hand.c"

# the compiler speaks of the chapters
cd "$folder/macro" || exit 1
sed -i 's/^int doubled;/int doubled = undoubled;/; s/^int number;/int number = unnumbered;/' 1.md
"$tangle" --lines lines 1.md
cc -fsyntax-only lines/macro.c 2>"$folder/messages"
for word in undoubled unnumbered; do
    line=$(grep -n $word 1.md | cut -d: -f1)
    check "gcc finds $word in the chapter" grep -q "^1.md:$line:.*$word" "$folder/messages"
done

# the book itself
cd "$root" || exit 1
both="$folder/both"
"$tangle" --strict -o "$both" chapters/*.md >"$folder/said" 2>&1
check "the book has no faults" same "$(cat "$folder/said")" ""
"$tangle" -o "$both" --lines "$both/lines" --xref "$both/x.json" chapters/*.md 2>/dev/null
check "the book, in Lua" both_agree "$both" chapters/*.md
check "each line of the compiled form is where its directive says" awk '
    function text(path, number) {
        if (!(path in read)) {
            read[path] = 1
            for (n = 1; (getline line < path) > 0; n++) lines[path, n] = line
        }
        return lines[path, number]
    }
    FNR == 1 { number = 0; next }
    /^#line / { number = $2; path = $3; gsub(/"/, "", path); next }
    { expected = text(path, number++) }
    substr($0, length($0) - length(expected) + 1) != expected || /<<[^<].*>>$/ {
        print FILENAME ":" FNR ": " $0
        bad = 1
    }
    END { exit bad || !NR }' "$both"/lines/*

# it makes itself: built from what it tangled, it tangles the same
check "a C compiler alone builds it" cc -o "$folder/second" "$both/code/tangle.c"
"$folder/second" -o "$folder/again" --xref "$folder/again/x.json" chapters/*.md 2>/dev/null
check "and it tangles itself to the byte" diff -r "$both/code" "$folder/again/code"
check "with the same cross references" cmp "$both/x.json" "$folder/again/x.json"

# what the Makefile makes of it
mkdir "$folder/house"
cp -r Makefile chapters code tests "$folder/house"
cd "$folder/house" || exit 1
unset MAKEFLAGS MAKELEVEL
make -s BUILD=build tangle build/fail.o >/dev/null 2>&1
helpers=$(echo chapters/*-helpers.md)
check "an object speaks of its chapter" grep -q "$helpers" build/src/fail.c
check "and depends on the committed form" same "$(head -n 1 build/fail.d)" "build/fail.o: code/fail.c code/fail.h"
sed -i '1i A new first line.\n' "$helpers"
make -s BUILD=build tangle 2>/dev/null
check "prose compiles nothing" make -q BUILD=build build/fail.o
sed -i 's/^#include "fail.h"$/&\nextern int another;/' "$helpers"
make -s BUILD=build tangle 2>/dev/null
check "code does" fails 1 '' make -q BUILD=build build/fail.o
sed -i 's/^extern int another;$/extern int a_third;/' code/fail.c
check "an edit of code ends make" fails 2 '^code/fail.c:[0-9]*: error: was edited, and is from chapters/64-helpers.md:' make -s BUILD=build tangle
check "make stitch carries it back" fails 0 '^chapters/64-helpers.md:[0-9]*: from code/fail.c:' make -s BUILD=build stitch
check "and make goes on" fails 0 '' make -s BUILD=build tangle
check "with the edit in both" eval 'grep -q a_third code/fail.c && grep -q a_third chapters/64-helpers.md'
cd "$root" || exit 1
exit $failed

# An edit of a tangled file: it is never written over, and make stitch carries it back, to the byte, or says why not and
# writes nothing.
set -u
. tests/check.sh
tangle=$root/${BUILD:-build}/tangle

# fails STATUS PATTERN COMMAND …: COMMAND must end with that status and say something like PATTERN
fails() {
    status=$1 pattern=$2
    shift 2
    "$@" >"$folder/said" 2>&1
    [ $? = "$status" ] && grep -q -- "$pattern" "$folder/said" || { cat "$folder/said"; return 1; }
}

tangled() { "$tangle" --last last "$@" *.md 2>&1; }
state() { find . -path ./.git -prune -o -type f -exec sha256sum {} + | sort; }

# book NAME: a folder with a small book, tangled; the tests edit what it has there
book() {
    mkdir "$folder/$1"
    cd "$folder/$1" || exit 1
    cat >1.md <<'END'
# A book

```c
<<code/a.c>>=
#include <stdio.h>

<<Greet>>

int main(void)
{
    int n = 0;
    <<Count>>
    <<Greet twice>>
    return n;
}
```

- A list.

   ```c
   <<Greet>>=
   static void greet(void)
   {
       puts("hello");
   }
   ```

```c
<<Count>>=
n++;
n++;
```
END
    cat >2.md <<'END'
```c
<<Greet twice>>=
greet();
greet();
```

```sh
<<code/a.sh>>=
<<Set up>>
echo "$one"
```

```sh
<<code/b.sh>>=
if true; then
    <<Set up>>
fi
```

```sh
<<Set up>>=
one=1
two=2
```

```json
<<code/a.json>>=
{"a": 1,
 "b": 2}
```

```gnuplot
<<figures/a.gp>>=
set title "a"
plot sin(x)
```
END
    tangled >/dev/null
}

# carries WHAT: the files come out of the chapters as they are now, if stitched
carries() {
    rm -rf "$folder/wanted"
    mkdir "$folder/wanted" && cp -r code figures "$folder/wanted"
    check "$1" tangled --stitch
    check "$1: the files stay as they were edited" eval 'diff -r code "$folder/wanted/code" && diff -r figures "$folder/wanted/figures"'
    check "$1: and the chapters give them" "$tangle" --check 1.md 2.md
}

# refuses WHAT PATTERN: stitching says so and leaves all as it is, and so does tangling
refuses() {
    state >"$folder/before"
    check "$1" fails 1 "$2" tangled --stitch
    check "$1: nothing is written" eval 'state | diff "$folder/before" -'
    check "$1: nor by tangling" eval '! tangled >/dev/null; state | diff "$folder/before" -'
}

book lost
sed -i 's/hello/goodbye/' code/a.c
echo 'three=3' >>code/b.sh
sed -i 's/^two=2/two=3/' 2.md
state >"$folder/before"
check "an edited file is not written over" fails 1 "^code/a.c:7: error: was edited, and is from 1.md:24; 'make stitch' carries the edit back, 'rm code/a.c' drops it$" tangled
check "each is named" grep -q '^code/b.sh:5: error: was edited' "$folder/said"
check "and nothing else is written either" eval 'state | diff "$folder/before" -'
rm code/a.c code/b.sh
check "to drop an edit is to remove the file" tangled
check "which is written again" grep -q hello code/a.c
check "and others with it" grep -q two=3 code/a.sh
rm -r last
check "without a memory, what the chapters give is no edit" tangled
sed -i 's/hello/good day/' 1.md
rm -r last
check "and what they do not give may be one" fails 1 '^code/a.c:7: error: was edited' tangled
rm code/a.c && tangled
sed -i 's:code/a.json:code/b.json:; s:code/a.sh:code/c.sh:' 2.md
echo '# mine' >>code/a.sh
check "a file that lost its chunk, and was edited, is not removed" fails 1 '^code/a.sh:1: error: was edited, and no chunk' tangled
rm code/a.sh
check "one that was not is" eval 'tangled && [ ! -e code/a.sh ]'
check "a file that the tangler never made is nobody's business" eval 'echo mine >code/hand.sh && tangled && grep -q mine code/hand.sh'

if command -v git >/dev/null; then # an archive needs none
    book clone
    git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -qm a
    rm -r last
    sed -i 's/hello/good day/' 1.md
    check "in a fresh clone, what was committed is no edit" eval 'tangled && grep -q "good day" code/a.c'
    sed -i 's/good day/good night/' code/a.c
    check "what was edited since is" fails 1 '^code/a.c:7: error: was edited' tangled
    git checkout -q code/a.c
    check "what git has checked out again is none" eval 'tangled && grep -q "good day" code/a.c'
fi

book carried
sed -i 's/hello/goodbye/; s/^    int n = 0;/    int n = 0, m;\n    m = n;/; s/return n;/return n + m;/; /^#include/d' code/a.c
sed -i 's/sin/cos/' figures/a.gp
sed -i 's/"b": 2/"b": 2,\n "c": 3/' code/a.json
carries "lines that were changed, added and removed"
check "in a list they are indented as it is" grep -q '^       puts("goodbye");$' 1.md
check "and in a chunk they are not" eval 'grep -q "^plot cos(x)$" 2.md && grep -q "^    m = n;$" 1.md'
sed -i '/Count/,/return/{/return/!s/^/    /}; s/^ *\/\* Count/    if (n)\n&/' code/a.c
carries "chunks that moved to the right"
check "their mentions moved" grep -q '^        <<Count>>$' 1.md
check "and they did not" grep -q '^n++;$' 1.md
sed -i 's:^ */\* Greet twice:next\:\n&:' code/a.c
carries "a line at a seam that only one chunk can have"
check "has gone to that" eval 'grep -A 1 "^next:$" 1.md | grep -q "<<Greet twice>>"'
sed -i 's/two=2/two=3/' code/a.sh code/b.sh
carries "a chunk used twice, edited alike"
sed -i 's/$/\r/' 1.md
sed -i 's/goodbye/adieu/' code/a.c
carries "a chapter with lines as on Windows"
check "it keeps them" same "$(grep -c "$(printf '\r')$" 1.md)" "$(wc -l <1.md)"

book both
sed -i 's/hello/goodbye/' code/a.c
sed -i 's/int n = 0/int n = 1/' 1.md
check "an edit of a file and one of its chapter" tangled --stitch
check "are both kept" eval 'grep -q goodbye 1.md && grep -q "n = 1" 1.md && grep -q goodbye code/a.c && grep -q "n = 1" code/a.c'
sed -i 's/goodbye/farewell/' code/a.c
sed -i 's/goodbye/adieu/' 1.md
refuses "two edits of one line" '^code/a.c:7: error: was edited, and so was its chapter, near 1.md:2[0-9]$'

book refused
again() { rm -r code figures && tangled; }
sed -i '1s/edit/do not edit/' code/a.c
refuses "the tangler's own first line" '^code/a.c:1: error: the first line is the tangler.s'
again
sed -i 's:^    /\* Count \*/:    /* Count on */:' code/a.c
refuses "a comment that names a chunk" '^code/a.c:13: error: a comment that names a chunk was here; its mention is at 1.md:12$'
again
sed -i '/Count/d' code/a.c
refuses "one that was removed" 'a comment that names a chunk was here; its mention is at 1.md:12$'
again
sed -i 's:^    /\* Greet twice \*/:    n--;\n&:' code/a.c
refuses "a line at the seam of two chunks" '^code/a.c:16: error: what was inserted may belong behind 1.md:31 or before 1.md:13; put it there$'
again
sed -i 's/^two=2/two=3/' code/a.sh
refuses "a chunk used twice, edited once" '^code/b.sh:5: error: chunk "Set up" is also used at code/a.sh:4, and is not the same there; edit both alike$'
again
sed -i 's/^    n++;/n++;/' code/a.c
refuses "a line left of its chunk" '^code/a.c:14: error: stands too far left in chunk "Count", at 1.md:30$'
again
sed -i 's/^    return n;/    <<Return>>/' code/a.c
refuses "a line that would be a mention" '^code/a.c:19: error: would be a mention or a header in chunk "code/a.c", at 1.md:14$'
again
printf '```\n' >>code/a.sh
refuses "a line that would end its fence" 'the edits in the chapters; nothing is written$'
again
printf 'echo' >>code/a.sh
refuses "a last line without an end" '^code/a.sh:1: error: expected a newline at its end$'
again
: >code/a.c
refuses "an empty file" '^code/a.c:1: error: the first line'
cd "$root" || exit 1

# whatever a hasty person does to some of the book's own files, they come out of the chapters, or nothing was written
mkdir "$folder/hasty"
cp chapters/67-weaver.md chapters/64-helpers.md chapters/49-start.md "$folder/hasty"
cd "$folder/hasty" || exit 1
tangled >/dev/null
mkdir ../whole && cp -r . ../whole
carried=0
for seed in $(seq 25); do
    rm -rf ./* && cp -r ../whole/. .
    lua5.4 "$root/tests/stitch.lua" "$seed" code/* figures/*
    state >../before
    cp -r code ../code.wanted
    if tangled --stitch >../said; then
        carried=$((carried + 1))
        rm -rf ../lua && mkdir ../lua && lua5.4 "$root/tests/tangle.lua" -o ../lua *.md
        diff -r ../lua/code code && diff -r ../code.wanted code && diff -r ../lua/figures figures
    else
        grep -q '^[^ ]*:[0-9]*: error: ' ../said || cat ../said
        state | diff ../before -
    fi >>../wrong 2>&1
    rm -r ../code.wanted
done
check "hasty edits are carried to the byte, or nothing is written" same "$(head -n 20 ../wrong)" ""
check "many are carried" test $carried -ge 5
cd "$root" || exit 1
exit $failed

# What is said of a line of a tangled script names the chapter's line: of a shell, of Lua, of gnuplot, and of a setting.
set -u
. tests/check.sh
placed=$root/${BUILD:-build}/placed tangle=$root/${BUILD:-build}/tangle
unset DISTIL_PLACED DISTIL_STDERR MAKEFLAGS MAKELEVEL

cd "$folder" || exit 1
cat >1.md <<'END'
```sh
<<code/a.sh>>=
echo begun >&2
<<Go wrong>>
```

```lua
<<code/a.lua>>=
function Header(header)
  <<Go wrong in Lua>>
end
```

```gnuplot
<<figures/a.gp>>=
set terminal dumb
<<Go wrong in gnuplot>>
```
END
cat >2.md <<'END'
```sh
<<Go wrong>>=
: first
no_such_command
```

```lua
<<Go wrong in Lua>>=
return header.nothing.more
```

```gnuplot
<<Go wrong in gnuplot>>=
plot nothing(x)
```
END
"$tangle" --places places.tsv ./*.md

# placed_as FILE LINE PLACE COMMAND …: what the command says of FILE is followed by the place
placed_as() {
    file=$1 line=$2 place=$3
    shift 3
    "$placed" places.tsv "$@" >"$folder/said" 2>&1
    grep -qxF "$place: is line $line of $file" "$folder/said" || { cat "$folder/said"; return 1; }
}
check "of a shell" placed_as code/a.sh 5 ./2.md:4 sh code/a.sh
check "below what the shell says, which stays" same "$(cut -d : -f 1 said | xargs)" "begun code/a.sh ./2.md"
command -v bash >/dev/null && check "of another shell" placed_as code/a.sh 5 ./2.md:4 bash code/a.sh
check "of Lua" placed_as code/a.lua 4 ./2.md:9 sh -c 'echo "# One" | pandoc --lua-filter code/a.lua'
check "of gnuplot" placed_as figures/a.gp 4 ./2.md:14 gnuplot figures/a.gp
check "once, though gnuplot says it twice" same "$(grep -c '^./2.md' said)" 1
check "of a file that was not tangled nothing" eval '! placed_as code/b.sh 5 . sh -c "echo code/b.sh: 5: wrong >&2" && ! grep "is line" said'
check "without a table nothing" eval '"$placed" none sh -c "echo code/a.sh: 5: wrong >&2" 2>said; same "$(cat said)" "code/a.sh: 5: wrong"'

# the command itself is left alone
sums() { "$placed" places.tsv sh -c "$1" >said 2>&1; }
check "its status is passed on" eval 'sums "exit 7"; [ $? = 7 ]'
check "so is a signal that ends it" eval 'sums "kill -s TERM \$\$"; [ $? = 143 ]'
check "and what is not there is named" eval '"$placed" places.tsv ./nothing 2>said; [ $? = 127 ] && grep -q "^placed: ./nothing: No such file" said'
sums 'i=0; while [ $i -lt 300 ]; do echo $i; i=$((i + 1)); echo $i >&2; i=$((i + 1)); done'
check "its output and its errors keep their order" same "$(cat said)" "$(seq 0 299)"
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "%s", "0123456789"; print "" }' >long
check "a line may be of any length" eval 'sums "cat long >&2"; cmp long said'
check "what waits on a line without an end is shown" eval '(sleep 3 | "$placed" places.tsv sh -c "printf question\? >&2; cat >/dev/null" 2>said) & sleep 1; grep -q "question?" said; found=$?; wait; [ $found = 0 ]'
begun=$(date +%s)
sums 'sleep 5 & echo done'
check "a process that is left behind is not waited for" test $(($(date +%s) - begun)) -lt 4
"$placed" places.tsv sh -c 'trap "echo ended; exit 5" TERM; echo ready; while :; do sleep 0.1; done' >said 2>&1 &
pid=$!
until grep -q ready said; do sleep 0.1; done
kill -s TERM $pid
wait $pid
status=$?
check "a signal is passed on" eval '[ $status = 5 ] && grep -q ended said'
within() { script -qec "$placed places.tsv $* sh -c \"test -t 9 && [ \\\$DISTIL_STDERR = 9 ]\"" /dev/null; }
check "a terminal stays within reach" within
check "under two locks, too" within sh "$root/code/lock.sh" one sh "$root/code/lock.sh" other

# make runs what it runs under it
cd "$root" || exit 1
house "$folder/house"
mkdir "$folder/house/build/mini"
cd "$folder/house" || exit 1
cp "$root/${BUILD:-build}/placed" build
sed -i 's/^real=.*/&\nno_such_command/' chapters/49-start.md
make -s BUILD=build tangle >/dev/null 2>&1
make -s BUILD=build tangle >said 2>&1
line=$(grep -n '^no_such_command' code/lock.sh | cut -d : -f 1) place=$(grep -n '^no_such_command' chapters/49-start.md | head -n 1 | cut -d : -f 1)
check "make's own scripts are placed" grep -qx "chapters/49-start.md:$place: is line $line of code/lock.sh" said
cd "$root" || exit 1
exit $failed

# A preview: the chapter that was saved shows on the page, alone, and so does what is wrong with it.
set -u
export PREVIEW_PAUSE=0.1 TITLE=Preview
. tests/check.sh
page=$folder/out/page.html
soon() { for try in $(seq 50); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }
shows() { grep -qF -- "$1" "$page" || { cat "$page" "$folder/said"; return 1; }; }

mkdir "$folder/chapters" "$folder/run"
cd "$folder" || exit 1
cat >chapters/1.md <<'END'
# The first {#sec:first}

It has {{value.measured}}, and goes before chapter {{sec:second}}, {{tbl:hand}}, {{tbl:run}} and {{fig:sine}}.

```c
<<code/a.c>>=
int a;
<<End>>
```
END
cat >chapters/2.md <<'END'
# The second one {#sec:second}

Behind chapter {{sec:first}}. Of itself it knows all: {{tbl:hand}}.

| a | b |
|:--|:--|
| 1 | 2 |

: A table by hand. With more. {#tbl:hand}

::: {.table #tbl:run file=none.tsv}
A table of a run. With more.
:::

::: {.figure #fig:sine script=figures/sine.gp}
A curve. With more.

::: alt
A sine.
:::
:::

```c
<<End>>=
int end;
```

```gnuplot
<<figures/sine.gp>>=
set terminal svg
set output output
plot sin(x) title "one"
```
END
touch -d 2001-01-01 chapters/2.md
: >references.bib
echo '{}' >published.json
sh "$root/code/preview.sh" out run "$root/${BUILD:-build}/tangle" pandoc --wrap=none --lua-filter "$root/code/weave.lua" --citeproc \
    -M bibliography=references.bib -M values=published.json -M results=run -M command=make -t html5 -s >said 2>&1 &
preview=$!
trap 'kill $preview; wait $preview 2>/dev/null; rm -rf "$folder"' EXIT

check "it begins with what was written last" soon shows '>The first</h1>'
check "and says where" grep -qx "preview: file://$folder/out/page.html shows each chapter that is saved" said
check "another chapter is called by its title" shows 'goes before chapter “The second one”, table “A table by hand”,'
check "so are tables and figures of others" shows 'table “A table of a run” and figure “A curve”.'
check "a value that no run has left is its key" shows 'It has {{value.measured}},'
check "chunks are set, and their mentions" shows '<i>⟨End⟩</i>'
check "nothing is written but in its folder" same "$(ls | xargs)" "chapters log out published.json references.bib run said"
stamp() { cat out/stamp.js; }
before=$(stamp)
check "the page says which it is" shows "const shown = \"$(echo "$before" | cut -d "'" -f 2)\""
sed -i 's/Behind/Far behind/' chapters/2.md
check "a chapter that is saved shows" soon shows 'Far behind chapter “The first”.'
check "its own tables have numbers" shows '>table 1</a>.'
check "its figures are drawn" grep -q '>one<' out/sine.svg
check "and the page is told" eval 'soon eval "[ \"\$(stamp)\" != \"$before\" ]"'
sed -i 's/title "one"/title "two"/' chapters/2.md
check "a figure that was edited is drawn again" soon grep -q '>two<' out/sine.svg
echo '{"value": {"measured": "97 %"}}' >run/values.json
sed -i 's/^It has/It had/' chapters/1.md
check "numbers of a run are in their places" soon shows 'It had 97 %,'
echo '<<Nobody>>' >more && sed -i '/^<<End>>/r more' chapters/1.md
check "what is wrong is on the page" soon shows 'chapters/1.md:9: error: chunk "Nobody" is not defined'
check "and on the terminal" grep -q '^chapters/1.md:9: error: chunk "Nobody" is not defined' said
sed -i '/Nobody/d; s/{{sec:second}}/{{sec:secnd}}/' chapters/1.md
check "so is a reference to nothing" soon shows 'chapters/1.md:3: error: section "secnd" is not known; did you mean "second"?'
sed -i 's/secnd/second/' chapters/1.md
check "when it is mended, the page is" soon shows '>The first</h1>'
printf '\n# A third\n' >chapters/3.md
check "a new chapter shows, too" soon shows '>A third</h1>'
cd "$root" || exit 1
exit $failed

# The site: each chapter is on one page, every link arrives, the search has what it should, and nothing is fetched.
set -u
. tests/check.sh
book='1.md 2.md'
site=$folder/run/html
mkdir -p "$folder/run/figures" "$folder/run/tables" "$folder/figures" "$folder/chapters"
cp Makefile "$folder" && cp -r code "$folder" && cp figures/style.gp "$folder/figures"
cd "$folder" || exit 1
cat >1.md <<'END'
::: part
The report
:::

Opening words: {{run.score}} of them.

# The first {#sec:first}

See chapter {{sec:second}}, section {{sec:deep}}, {{tbl:hand}} and {{fig:sine}}.

```c
<<code/a.c>>=
static int anchor_weigh(int chain);
<<Haul "it" & look>>
```

::: {.figure #fig:sine script=figures/sine.gp}
A curve.

::: alt
A sine.
:::
:::

```c
<<Haul "it" & look>>=
static int anchor_weigh(int chain)
{
    return chain < 2;
}
```
END
cat >2.md <<'END'
::: part
The program
:::

# The second {#sec:second}

## Deep down {#sec:deep}

Behind chapter {{sec:first}}, where nobody looks for marlinspikes. It has $x < 2$ and

$$ x^2. $$

| a | b |
|:--|:--|
| 1 | {{run.score}} |

: A table by hand. {#tbl:hand}

| keys | formula | stages | files |
|:--|:--|:--|:--|
| `run.`, `other.` | counted (chapter {{sec:first}}) | `count-*` | `counts/` |
| `run.score` | weighed | none | `scales/` |

: Where each number is from. {#tbl:origins}

```gnuplot
<<figures/sine.gp>>=
load "figures/style.gp"
plot sin(x)
```

::: chunk-index
:::

::: identifier-index
:::
END
echo '{"run.score": "97 %", "run.profile": "made up", "run.device": "an abacus", "run.date": "1849-01-01"}' >run/values.json
echo '{}' >chapters/published.json
: >chapters/references.bib
"$root/${BUILD:-build}/tangle" --xref build/xref.json -o tangled $book >/dev/null && cp tangled/figures/sine.gp figures
unset MAKEFLAGS MAKELEVEL
made() { make -s run/html/index.html BUILD=build RUN=run PROFILE=made-up CHECKED= CHAPTERS="$book" DRAWN=sine TITLE='A & B' NVCC= GPU= >said 2>&1 || { cat said; return 1; }; }
check "a site is made" made
cd "$site" || exit 1
check "it has a page for each chapter, and the files that they need" same "$(ls | xargs)" \
    "first.html index.html search.js second.html sine.svg site.css site.js values.html"
check "each chapter is on one page" same "$(grep -l '</span> The first</h1>' ./*.html; grep -l '</span> The second</h1>' ./*.html)" \
    "$(printf './first.html\n./second.html')"
check "the first page has what stands before" grep -q 'Opening words: <a href="values.html#value:run.score" class="value">97 %</a>' index.html
check "and the title" grep -q '<h1 class="title">A &amp; B</h1>' index.html

follow() { # every link leads to a file that is there, and to a name in it
    for page in *.html; do
        grep -oE ' (href|src)="[^"]*"' "$page" | cut -d '"' -f 2 | sort -u | while read -r link; do
            case $link in data:,) continue ;; esac
            file=${link%%#*}
            [ -f "${file:-$page}" ] || { echo "$page: $link"; continue; }
            case $link in *'#'*) grep -qF " id=\"${link#*#}\"" "${file:-$page}" || echo "$page: $link" ;; esac
        done
    done >"$folder/broken"
    cat "$folder/broken"
    [ ! -s "$folder/broken" ]
}
check "every link arrives" follow
check "there are such links" grep -q ' href="second.html#sec:deep">2.1</a>' first.html
check "no name is on a page twice" same "$(for page in *.html; do grep -o ' id="[^"]*"' "$page" | sort | uniq -d; done)" ""
check "nothing is fetched" same "$(grep -nE '(src|href)="(https?:)?//|url\(|@import|fetch\(|import ' ./*.html site.css site.js)" ""
check "each text stands out from each ground, in light and in dark" lua5.4 "$root/tests/contrast.lua" site.css
sed 's/#5e5e5e/#787878/' site.css >"$folder/pale.css"
check "one that does not is told" eval '! lua5.4 "$root/tests/contrast.lua" "$folder/pale.css"'
sed 's/color: inherit/color: #777777/' site.css >"$folder/loose.css"
check "and a colour that has no pair" eval '! lua5.4 "$root/tests/contrast.lua" "$folder/loose.css"'
check "a picture has words and a box that scrolls" grep -q '<span class="wide"><img src="./sine.svg" alt="A sine." />' first.html
check "a line has an address" grep -q 'id="chunk:haul-it-look:3" href="#chunk:haul-it-look:3"' first.html
check "previous and next" same "$(grep -oE 'rel="(prev|next)"' first.html | xargs)" "rel=prev rel=next"
check "the page itself is marked among the chapters" grep -q '<a href="second.html" aria-current="page">2 The second</a>' second.html
check "the search has the identifiers" grep -qF '["anchor_weigh","function","first.html#chunk:haul-it-look",""]' search.js
check "the chunks" grep -qF '["Haul \u0022it\u0022 & look","chunk","first.html#chunk:haul-it-look",""]' search.js
check "and the text" grep -q '"2.1 Deep down","section","second.html#sec:deep","Behind chapter [0-9]*, where nobody looks for marlinspikes' search.js
check "a value says where it is from" grep -qF '<code>run.score</code></td><td>weighed</td><td>none, by <code>make report PROFILE=made-up</code></td><td><code>run/values.json</code>, <code>scales/</code></td>' values.html
check "and who tells it" grep -qF '<a href="index.html">A &amp; B</a>, <a href="second.html">The second</a>' values.html
cd "$folder" || exit 1
sed -i 's/`run\.[a-z]*`/`elsewhere.`/' 2.md
made_not() { ! made && grep -q 'run.score is of no kind in the table of origins' said; }
check "a value that no row fits is refused" made_not
before=$(cat run/html/* | sha256sum)
echo '{' >run/values.json
check "a site that cannot be made" eval '! made'
check "leaves the one that was there" same "$(cat run/html/* | sha256sum)" "$before"
cd "$root" || exit 1
exit $failed

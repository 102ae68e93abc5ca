# The whole book, of a run that never happened: no heading and no name of a chunk stands at a page's foot without what it
# heads, tables and figures have the same numbers in the PDF and on the site and stand where they are mentioned, and the
# index of concepts leads somewhere.
set -u
. tests/check.sh
run=results/made-up-full
mkdir -p "$folder/build" "$folder/results"
cp -r Makefile chapters code figures "$folder"
cp -r tests/fixtures/run "$folder/$run"
cd "$folder" || exit 1
grep -oh '{{check\.[^}]*}}' chapters/*.md | sed 's/[{}]//g; s/$/\t0/' | sort -u >checks.tsv
"$distil" results --profile $run/made-up-full.settings --run $run --checks checks.tsv >/dev/null
"$root/${BUILD:-build}/tangle" --xref build/xref.json -o tangled chapters/*.md >/dev/null
unset MAKEFLAGS MAKELEVEL
made() { make -s BUILD=build PROFILE=$run/made-up-full.settings CHECKED= "$run/$1" >said 2>&1 && same "$(cat said)" "$2: $run/$1"; }
check "the book is woven without a complaint" made report.pdf weave
check "and the site" made html/index.html html

pdftohtml -xml -i -stdout -fontfullname $run/report.pdf >pages.xml 2>/dev/null
stranded() { lua5.4 "$root/tests/pages.lua" <"$1" | tee found; ! grep -v '^#' found; }
check "nothing that heads a text stands at a page's foot" stranded pages.xml
check "that is said of many headings and names" grep -q '^# [0-9]\{3,\} headings, [0-9]\{4,\} names of chunks' found
# the same pages, each cut below its first name of a chunk, and each below its first heading of a section
awk '/<page / { foot = 0 } /<text / && foot { next } { print } />≡</ { foot = 1 }' pages.xml >cut.xml
check "a name at the foot is found" eval '! stranded cut.xml >/dev/null && grep -q "name at the foot" found'
awk '/<fontspec .*size="18".*Bold" color="#[^0]/ { match($0, / id="[0-9]*"/); font = substr($0, RSTART + 5, RLENGTH - 6) }
    /<page / { foot = 0 } /<text / && foot { next } { print } font && $0 ~ " font=\"" font "\">" { foot = 1 }' pages.xml >cut.xml
check "and so is a heading" eval '! stranded cut.xml >/dev/null && grep -q "heading at the foot" found'

# numbers FILE …: the label and the number of each table and figure of the site, one a line
numbers() { cat "$@" | tr '\n' ' ' | grep -oE '<div id="(tbl|fig):[^"]*"|<strong>(Table|Figure) [0-9]+[.]</strong>' |
    sed 's/<div id="//; s/"//; s/<strong>[a-zA-Z]* //; s/[.]<.*//' | paste - - | sort; }
numbers $run/html/*.html >on-site
sed -n 's/^\\newlabel{\(\(tbl\|fig\):[^}]*\)}{{\([0-9]*\)}.*/\1\t\3/p' build/made-up-full/weave/report.aux | sort >in-pdf
check "tables and figures have the same numbers in the PDF and on the site" diff in-pdf on-site
for kind in tbl:Table fig:Figure; do
    counted=$(grep -c "^${kind%:*}:" in-pdf)
    check "each ${kind%:*}: counts from 1 on without a gap" same "$(sed -n "s/^${kind%:*}:.*\t//p" in-pdf | sort -n | xargs)" "$(seq "$counted" | xargs)"
    check "and no other takes a number" same "$(sed -n "s/.*<b>${kind#*:} \([0-9]*\):.*/\1/p" pages.xml | xargs)" "$(seq "$counted" | xargs)"
done

# the site's pages beside those of the PDF; and without the first mention of a figure
floats() { lua5.4 "$root/tests/floats.lua" build/made-up-full/weave/report.aux "$@" | tee found; ! grep -v '^#' found; }
check "each is mentioned before it stands, and near it" floats pages.xml $run/html/*.html
check "that is said of all" grep -q "^# $(wc -l <in-pdf) tables and figures" found
sed '/^<p>/s/href="#fig:house"//' $run/html/house.html >house.html
sed "s/>table $(sed -n 's/^tbl:verdicts\t//p' in-pdf)</>table</" pages.xml >cut.xml
check "one that is not is found, on the site" eval '! floats pages.xml house.html >/dev/null && grep -q "^fig:house: house.html, and its section" found'
check "and in the PDF" eval '! floats cut.xml $run/html/*.html >/dev/null && grep -q "^tbl:verdicts: no page of the PDF" found'

# concepts: those of a list that have a place in both, by the numbers of their first places
book=build/made-up-full/weave/report
sed -n 's/^\\entry{\(concept:[0-9]*\)}.*/\1/p' $book.tex | sort >entries
sed -n 's/^\\newlabel{\(concept:[0-9]*\)}{{.*/\1/p' $book.aux | sort >labels
check "the index of concepts has some sixty entries at least" test "$(wc -l <entries)" -ge 60
check "each is a place in the PDF" same "$(comm -23 entries labels)" ""
check "and on the site" same "$(grep -c '^<li>.*#concept:' $run/html/indexes.html)" "$(wc -l <entries)"
cd "$root" || exit 1
exit $failed

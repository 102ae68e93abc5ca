# Tangled from chapters/68-site.md; edit there.
# usage: sh code/woven.sh RUN
# Prints the sums of all that the report of a committed run is woven from, and of what
# came of it.
set -eu
run=$1
{
    awk '/^::: part$/ { part++ } part == 1 { print FILENAME }' chapters/*.md | uniq
    ls chapters/published.json chapters/references.bib figures/style.gp
    ls code/weave.lua code/report.lua code/book.tex code/figure.tex
    find "$run/values.json" "$run/tables" "$run/figures" -type f
    ls "$run/report.md" "$run/summary.pdf"
    for picture in "$run"/*.svg; do
        name=${picture##*/}
        echo "$picture" "figures/${name%.svg}.gp"
    done
} | xargs -n 1 | LC_ALL=C sort | xargs sha256sum

# The reports beside the runs in results/reference: each is of what it was woven from, each of its links arrives, and the
# README begins with one. No TeX is needed, and no pandoc.
set -u
. tests/check.sh
anew="'make reference' weaves it anew"

# current RUN: whether the sums that were left with its report are those of today
current() {
    sh code/woven.sh "$1" >"$folder/sums" || { echo "something is missing; $anew"; return 1; }
    cmp -s "$folder/sums" "$1/report.sums" && return
    sort "$folder/sums" "$1/report.sums" | uniq -u | cut -c 67- | sort -u | sed 's/$/ is not as it was/'
    echo "$1/report.md: $anew"
    return 1
}

# arrive RUN: the links and pictures of its report lead to files, lines and anchors that are there; those within chapters
# are the chapters' own, which lint.sh follows
arrive() {
    cd "$1" || return 1
    grep -oE '\]\([^)]+\)' report.md | sed 's/^](//; s/)$//' | sort -u | while read -r link; do
        file=${link%%#*} place=${link#"$file"}
        [ -e "${file:-report.md}" ] || echo "$1/report.md: $link is not there"
        case $place in
        '#L'*) [ "$(sed -n "${place#\#L}p" "$file" | grep -c '": ')" = 1 ] || echo "$1/report.md: $link is no value" ;;
        '#'*) [ -n "$file" ] || grep -qF "<a id=\"${place#\#}\"></a>" report.md || echo "$1/report.md: $link is not there" ;;
        esac
    done >"$folder/broken"
    cd "$root" || return 1
    cat "$folder/broken"
    [ ! -s "$folder/broken" ]
}

runs=$(grep -l '"verdicts.sentence"' results/reference/*/values.json | xargs -n 1 dirname)
check "there are reports" test -n "$runs"
for run in $runs; do
    check "$run has the report of what is there" current "$run"
    check "its links arrive" arrive "$run"
    check "its pictures have words" same "$(grep -c '!\[\](' "$run/report.md")" 0
    check "no reference is left open" same "$(grep -n '{{\|??' "$run/report.md")" ""
    check "its PDF has six pages at most" test "$(pdfinfo "$run/summary.pdf" | awk '/^Pages/ { print $2 }')" -le 6
done
tr '\n' ' ' <chapters/68-site.md >"$folder/site"
for run in results/reference/*/; do
    [ -f "$run/report.md" ] || grep -q "Some runs there have no report: [^.]*$(basename "$run")" "$folder/site" || basename "$run"
done >"$folder/untold"
check "a run without a report is one that the book tells of" same "$(cat "$folder/untold")" ""
first=$(grep -oE '\]\([^)]+\)' README.md | sed -n '1s/^](//; 1s/)$//p')
check "the README's first link is such a report" same "$(basename "$first")" report.md
check "of real data" grep -q '"run.data": "real"' "$(dirname "$first")/values.json"

# what changes is noticed: a value, a table, a figure's script, a chapter, a picture
mkdir -p "$folder/book/results"
cp -r chapters code figures "$folder/book" && cp -r --parents $runs "$folder/book"
cd "$folder/book" || exit 1
run=${runs%%
*}
for file in "$run/values.json" "$run/tables/scores.tsv" figures/scores.gp chapters/04-results.md "$run/scores.svg"; do
    cp "$file" kept && printf '\n' >>"$file"
    check "a change of $(basename "$file") is noticed" sh -c "sh code/woven.sh '$run' | cmp -s - '$run/report.sums'; [ \$? = 1 ]"
    mv kept "$file"
done
printf '\n' >>chapters/61-probes.md
check "a change of another chapter is none" sh -c "sh code/woven.sh '$run' | cmp - '$run/report.sums'"
cd "$root" || exit 1
exit $failed

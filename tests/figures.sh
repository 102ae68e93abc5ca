# Figures of runs that went badly: gnuplot stops where a range is empty, and a report would with it.
set -u
. tests/check.sh
run=$folder/made-up
cp -r tests/fixtures/run "$run"
$distil results --profile "$run/made-up.settings" --run "$run" --checks "$run/checks.tsv" >/dev/null || exit 1

draws() { # draws FIGURE: without a word
    gnuplot -e "results='$run'; output='$folder/$1.tikz'; terminal='tikz'" "figures/$1.gp" >"$folder/said" 2>&1 &&
        same "$(cat "$folder/said")" "" && [ -s "$folder/$1.tikz" ]
}
change() { awk -F '\t' -v OFS='\t' "$2" "$run/figures/$1.tsv" >"$folder/changed" && mv "$folder/changed" "$run/figures/$1.tsv"; }

for figure in training scores confusion stages; do check "$figure is drawn" draws $figure; done
check "an arrow for each stage that takes a model of the core" same "$(wc -l <"$run/figures/needs.tsv")" "$(($(wc -l <"$run/figures/stages.tsv") - 1))"
change scores '{ $3 = $4 = $5 = 0 } 1'
check "all models score nothing" draws scores
change scores '{ $3 = $4 = $5 = 56.3 } 1'
check "all models score the same" draws scores
change accuracy 'NF > 1 { $2 = 0.5; $3 += 13 } 1'
check "many models guess few words" draws training
change accuracy 'NF > 1 { $2 = 0 } 1'
check "or none" draws training
change losses '{ $5 = (NR == 1 ? "relations" : $4 / 2) OFS $5 } 1'
check "a fourth term has a panel" draws training
check "under its name" grep -q relations "$folder/training.tikz"
change losses 'NR < 3'
check "a curve has a single point" draws training
exit $failed

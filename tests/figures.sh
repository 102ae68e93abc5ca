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

# what keeps more: students of any number, place and name
check "no student keeps more" draws keeping
kept() { # kept ROW…: difference, minutes, retention, low, high and name of students
    { printf 'difference\tminutes of training on a_100%% & #1\tretention\tlow\thigh\tstudent\n'
        for row; do echo "$row" | sed 's/ /\t/; s/ /\t/; s/ /\t/; s/ /\t/; s/ /\t/'; done; } >"$run/figures/kept.tsv"
    draws keeping
}
check "one does, without an interval" kept "4 12 88 88 88 88.0 with relations"
check "its name and the device are written as they are" kept "4 12 88 88 88 88.0 a_b, 5 % & \$1 #2"
check "in TeX, too" sh -c "grep -qF 'a\_b, 5 \% \& \\\$1 \#2' '$folder/keeping.tikz' && grep -qF 'a\_100\% \& \#1' '$folder/keeping.tikz'"
check "many keep the same in the same time" kept "0 12 88 80 90 88.0 student" "2 12 88 80 90 88.0 both ends" "3 12 88 80 90 88.0 twice" \
    "4 12 88 80 90 88.0 a" "4 12 88 80 90 88.0 b" "4 12 88 80 90 88.0 c" "4 12 88 80 90 88.0 d" "4 12 88 80 90 88.0 e"
printf '97\tpaper\n94.35\tcourse\n' >>"$run/figures/claimed.tsv"
check "others, in minutes and hours, stand beside what was claimed" kept "3 600 99 90 120 99.0 twice" "0 12 -8 -20 9 −8.0 student"
check "with its levels" grep -q 'course: 94.35' "$folder/keeping.tikz"

check "each line stands out from white paper" lua5.4 tests/contrast.lua figures/*.gp
sed 's/#3aa66e/#79c79a/' figures/style.gp >"$folder/pale.gp"
check "one that does not is told" eval '! lua5.4 tests/contrast.lua "$folder/pale.gp" >"$folder/said" && grep -q "#79c79a on white: 2.0" "$folder/said"'
exit $failed

#!/bin/sh
# From a finished run to its verdicts: distil results, then distil verdicts, on a run that never happened, beside committed
# runs that agree, that do not, that had other settings, and that are of another profile.
. tests/check.sh
run=$folder/made-up
reference=$folder/reference
cp -r tests/fixtures/run "$run"
results() { "$distil" results --profile "$run/made-up.settings" --run "$run" "$@" >"$folder/out"; }
verdicts() { "$distil" verdicts --run "$run"; }
line() { verdicts | grep "$1" | tr -s ' '; }
counts() { verdicts | grep -E "^($1|No|One) .* held against"; } # counts NUMBER: the sentence that counts so many

check "a run that is not finished has no verdicts" run 1 verdicts --run "$run"
check "and the message names the file" grep -q "distil: $run/verdicts.json: expected the verdicts of a finished run" "$folder/err"
check "they need a run" run 2 verdicts
check "the command tells its usage" run 0 verdicts --help

check "a finished run is judged" results
check "its verdicts are printed, with success although some fail" verdicts
check "every claim has its line" same "$(verdicts | grep -c '; asked: ')" 6
check "but none about English" same "$(line 'keeps')" ""
check "and they are counted" same "$(counts 6)" "6 claims are held against this run: 3 pass on Toyland and 3 are not decided"
check "a size is a count" same "$(line 'smaller')" \
    "PASS on Toyland the student is 40 % smaller (the paper): 45.5; asked: at least 38.8; lies wholly at or above"
check "speed has the spread of its parts" same "$(line 'faster')" \
    "PASS on Toyland it is 60 % faster on one core (the paper): 92 (86 to 100); asked: at least 60; lies wholly at or above"
check "what was not measured is not decided" same "$(line 'cosine')" \
    "not decided the cosine helps: –; asked: below 0; not measured in this run"
check "the released student is not asked where there is none" same "$(line released)" ""
verdicts >"$folder/printed"
check "a run on Toyland says first what is not judged" sh -c \
    "sed -n 2p '$folder/printed' | grep -q 'a generated language: what is claimed of English is not judged here'"
check "and no verdict stands without its language" same "$(grep -E 'PASS|FAIL|pass|fail' "$folder/printed" | grep -vE '(PASS|FAIL|pass|passes|fail|fails) on Toyland')" ""
check "the report's table has the same rows" same "$(wc -l <"$run/tables/verdicts.tsv")" 7
check "nothing is compared without a committed run" same "$(wc -l <"$run/tables/agreement.tsv")" 1
check "and the report is told so" eval '! grep "agreement" "$run/values.json"'

# verdicts.json, as another program reads it
shape() {
    for key in about agreement claims code data date device profile; do
        grep -q "^  \"$key\": " "$run/verdicts.json" || { echo "no $key"; return 1; }
    done
    for key in asked claim high low measured name published text tolerance verdict why; do
        same "$(grep -c "^      \"$key\": " "$run/verdicts.json")" 6 || { echo "for $key"; return 1; }
    done
    ! grep '"verdict"' "$run/verdicts.json" | grep -vE '"verdict": "((PASS|FAIL) on Toyland|not decided)",$' &&
        grep -q '"data": "toyland"' "$run/verdicts.json"
}
check "the JSON has its shape" shape
cp "$run/verdicts.json" "$folder/first"

# committed runs
mkdir -p "$reference/twin" "$reference/stranger" "$folder/other"
cp "$run/summary.json" "$reference/twin/"
sed 's/"profile": "made-up"/"profile": "another"/' "$run/summary.json" >"$reference/stranger/summary.json"
check "a committed run is compared" results --reference "$reference"
check "and agrees with itself; one of another profile is left out" same "$(counts 7)" \
    "7 numbers are held against committed runs: 7 pass on Toyland"
check "the claims are judged as before" same "$(sed '/"claims"/,/^  \]/!d' "$run/verdicts.json")" "$(sed '/"claims"/,/^  \]/!d' "$folder/first")"
check "the report is told how many" grep -q '"agreement.sentence": "7 numbers' "$run/values.json"

cp -r tests/fixtures/run "$folder/other/made-up"
for seed in 1 2 3; do # a student that is always wrong on CoLA
    awk -F '\t' -v OFS='\t' 'NR > 1 { $3 = 1 - $2 } 1' "$run/predictions/cola-student-$seed.tsv" \
        >"$folder/other/made-up/predictions/cola-student-$seed.tsv"
done
"$distil" results --profile "$run/made-up.settings" --run "$folder/other/made-up" >"$folder/out"
cp "$folder/other/made-up/summary.json" "$reference/twin/"
results --reference "$reference"
check "a run that disagrees is found out, and both numbers are named" sh -c \
    "'$distil' verdicts --run '$run' | grep 'toy CoLA of the student, as in twin' | grep -qE '^FAIL on Toyland .*; asked: meets −100.0; the intervals do not meet'"
check "what still agrees, agrees" same "$(line 'toy MRPC of the student' | grep -c PASS)" 1

sed 's/"distill.epochs": "3"/"distill.epochs": "4"/' "$folder/other/made-up/summary.json" >"$reference/twin/summary.json"
results --reference "$reference"
check "other settings decide nothing" same "$(counts 7)" "7 numbers are held against committed runs: 7 are not decided"
check "and are named" same "$(line 'retention of the student, as in twin' | sed 's/ of the.*;//')" "not decided retention distill.epochs differs"

# models and predictions of a run that promises bits, as its records have them
cp -r tests/fixtures/run "$folder/exact"
mkdir "$folder/exact/held"
exact() { "$distil" results --profile "$run/made-up.settings" --run "$folder/exact" --reference "$folder/exact/held" "$@" >"$folder/out"; }
bits() { "$distil" verdicts --run "$folder/exact" | grep -E '^(not )?(identical|compared)'; }
for seed in 1 2 3; do
    sum=$(sha256sum "$folder/exact/predictions/cola-student-$seed.tsv" | cut -d ' ' -f 1)
    sed -i "s|^ \"cuts\"| \"files\": {\"predictions/cola-student-$seed.tsv\": \"$sum\", \"curves/a.tsv\": \"0\"},\n&|" \
        "$folder/exact/stages/finetune-cola-student-$seed.json"
done
exact
check "the summary has the sums of predictions, and of no curves" same "$(grep -c '"predictions/cola-student-[123].tsv": "[0-9a-f]\{64\}"' "$folder/exact/summary.json") $(grep -c a.tsv "$folder/exact/summary.json")" "3 0"
mkdir "$folder/exact/held/twin"
cp "$folder/exact/summary.json" "$folder/exact/held/twin/"
exact
check "a run that is the same is identical, with their number" same "$(bits)" \
    "identical to the committed run twin: 3 models and predictions compared, all the same"
sed -i "/cola-student-[23].tsv/s/: \"..../: \"0000/" "$folder/exact/held/twin/summary.json"
exact
check "one that is not is named by the first file that differs" same "$(bits)" \
    "not identical to the committed run twin in 2 of 3 models and predictions, first predictions/cola-student-2.tsv"
check "and the report is told" grep -q '"bits": "not identical to the committed run twin' "$folder/exact/values.json"
exact --run.bits any
check "nothing is said where no bits are promised" eval '! grep "\"bits" "$folder/exact/values.json"'
sed -i 's/"distill.epochs": "3"/"distill.epochs": "4"/' "$folder/exact/held/twin/summary.json"
exact
check "another experiment is not compared, and says why" same "$(bits)" "not compared with the committed run twin: distill.epochs differs"

echo '{' >"$reference/twin/summary.json"
rm "$run/verdicts.json"
check "a broken summary is refused" sh -c "! '$distil' results --profile '$run/made-up.settings' --run '$run' --reference '$reference' 2>'$folder/err'"
check "by its name" grep -q "distil: $reference/twin/summary.json: expected a JSON object" "$folder/err"
check "and leaves no verdicts" test ! -e "$run/verdicts.json"

# real text: the same verdicts without the warning, and those about English
sed -i 's/^data = toyland/data = real/' "$run/made-up.settings"
results
check "on real text a verdict stands alone" same "$(verdicts | grep -c Toyland)" 0
check "all claims are judged" same "$(counts 8)" "8 claims are held against this run: 3 pass, 1 fails and 4 are not decided"
check "a part beside what the paper has of it" same "$(line 'cosine')" \
    "not decided the cosine helps: –; asked: below 0; not measured in this run"
check "and none without its figure" same "$(grep -c '"published": ' "$run/verdicts.json")" 8
exit $failed

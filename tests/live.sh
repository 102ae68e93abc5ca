# A run that is watched: the page says what is there, grows with the run, outlives what vanishes under it, and ends with it.
set -u
export OMP_NUM_THREADS=1 LIVE_PAUSE=0.1
unset DISTIL_LOCKS WAIT
. tests/check.sh
run=$folder/"it's a run" page=$folder/"it's a run/live.html"
stages="teacher distill-student finetune-cola-teacher-1 finetune-cola-teacher-2"
live() { sh code/live.sh "$run" "$distil" tests/fixtures/tiny.settings $stages >"$folder/said" 2>&1; }
says() { grep -qF -- "$1" "$page" || { sed 's/base64,[^"]*//' "$page"; return 1; }; }
silent() { ! grep -F -- "$1" "$page"; }
soon() { for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }
picture() { sed -n "s/^<img alt=\"$1\" src=\"data:image\/svg+xml;base64,\(.*\)\">$/\1/p" "$page" | base64 -d; }
# draws PANEL TEXT …: a picture of that name has these texts, and at least a line or a point
draws() {
    panel=$1
    shift
    picture "$panel" >"$folder/picture"
    for text; do grep -qF ">$text<" "$folder/picture" || { cat "$folder/picture"; echo "expected: $text"; return 1; }; done
    grep -q "<path stroke='[^']*' d='M\|<use " "$folder/picture"
}

# lasted SECONDS RECORD: the record, sealed, of a stage that took so long
lasted() {
    zeros=$(printf %064d 0)
    sed "s/  \"seconds\": .*/  \"seconds\": $1,/; s/^\(  \"sum\": \"\)[0-9a-f]*/\1$zeros/" "$2" >"$folder/unsealed"
    sed "s/$zeros/$(sha256sum <"$folder/unsealed" | cut -d ' ' -f 1)/" "$folder/unsealed"
}

check "no run is said in a line" eval '! live && [ "$(wc -l <"$folder/said")" = 1 ] && grep -q "there is no run" "$folder/said"'
check "and nothing is made of it" [ ! -e "$run" ]

$distil toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1
all="--profile tests/fixtures/tiny.settings --data $folder/data --lines"
$distil pretrain $all --run "$run" --teacher scratch 2>/dev/null || exit 1
$distil finetune $all --run "$run" --task cola --model "$run/models/teacher" --name teacher --seed 1 2>"$folder/log" || exit 1
score=$(sed -n 's/^cola-teacher-1: .* //p' "$folder/log")
# both took a moment, and either may have been the longer one
lasted 60 "$run/stages/teacher.json" >"$folder/record" && cp "$folder/record" "$run/stages/teacher.json"
find "$run" -type f ! -name live.html -exec sha256sum {} + | sort >"$folder/before"
check "nobody is at work, so it looks once" live
check "stages are counted" says "<p>2 of 4 stages are done"
check "nobody is said to be at work" says "nobody is at work on the run"
check "and nothing is loaded again" silent refresh
check "scores are in the table" says "<tr><th>teacher<td>$(printf %.1f "$score") <small>1</small>"
check "and drawn" draws scores CoLA teacher
check "so is the accuracy" draws accuracy teacher
check "the loss of the longest stage" draws loss-teacher teacher "masked words"
check "and its speed" draws speed teacher
check "no term is drawn that the loss has not" eval '! picture loss-teacher | grep "soft targets\|relations"'
cp "$run/curves/teacher.tsv" "$folder/plain"
awk '{ print $0 "\t" (NR == 1 ? "relations" : 0.5) }' "$folder/plain" >"$run/curves/teacher.tsv"
check "a fourth term has a line" eval 'live && draws loss-teacher "masked words" relations'
mv "$folder/plain" "$run/curves/teacher.tsv"
live

# somebody is at work
touch -d '5 minutes ago' "$run/stages/finetune-cola-teacher-2.from"
cp "$run/curves/finetune-cola-teacher-1.tsv" "$run/curves/finetune-cola-teacher-2.tsv"
sh code/lock.sh "$run" sh -c 'while [ ! -e "$1" ]; do sleep 0.05; done' sh "$folder/over" &
worker=$!
until [ -s "$folder/.it's a run.lock" ]; do sleep 0.02; done
live &
watcher=$!
check "while it goes on, the page is loaded again" soon says 'http-equiv="refresh"'
check "a stage that has begun has a row" says "<tr><th>finetune-cola-teacher-2<td>"
check "and its curve is drawn, not the longest" draws loss-finetune-cola-teacher-2 finetune-cola-teacher-2
mv "$run/curves/finetune-cola-teacher-2.tsv" "$folder/curve"
check "what vanishes is gone from the page" soon grep -qx "<tr><th>finetune-cola-teacher-2" "$page"
check "and so is its picture" soon silent loss-finetune-cola-teacher-2
head -c 100 "$folder/curve" >"$run/curves/finetune-cola-teacher-2.tsv"
sleep 0.5
check "half a file costs a look" kill -0 $watcher
check "and leaves the page" says "<p>2 of 4 stages are done"
mv "$folder/curve" "$run/curves/finetune-cola-teacher-2.tsv"
lasted 900 "$run/stages/finetune-cola-teacher-1.json" >"$folder/record"
cp "$run/stages/finetune-cola-teacher-1.json" "$folder/kept"
mv "$folder/record" "$run/stages/finetune-cola-teacher-1.json"
check "what is left is guessed from a stage like it, less what has gone; of no other" soon says "; more than 10 minutes are left"
mv "$folder/kept" "$run/stages/finetune-cola-teacher-1.json"
touch "$folder/over"
wait $worker
check "it ends with the run" wait $watcher
check "and says so" says "nobody is at work on the run"
check "the page is not loaded again" silent refresh
rm "$run/stages/finetune-cola-teacher-2.from" "$run/curves/finetune-cola-teacher-2.tsv"
check "nothing else was changed" eval 'find "$run" -type f ! -name live.html -exec sha256sum {} + | sort | diff "$folder/before" -'
exit $failed

# The benchmark of a small run: what it leaves and prints, and what it refuses.
set -u
export OMP_NUM_THREADS=1
. tests/check.sh
run=$folder/run
common="--profile tests/fixtures/tiny.settings --run $run --data $folder/data"

$distil toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1
$distil pretrain $common --teacher scratch 2>"$folder/log" &&
    $distil distill $common --student student 2>>"$folder/log" || { cat "$folder/log"; exit 1; }

bench() { # bench [OPTION VALUE]…: later options count
    $distil bench $common --student student --model "$run/models/teacher" --full code/full.settings \
        --published chapters/published.json "$@"
}
refuses() { # refuses MESSAGE OPTION VALUE: and leaves no file
    message=$1; shift
    rm -f "$run/bench.json"
    bench "$@" >"$folder/said" 2>&1
    status=$?
    cat "$folder/said"
    [ "$status" = 1 ] && grep -qF "$message" "$folder/said" && [ ! -e "$run/bench.json" ]
}
printed() { grep -qE "$1" "$folder/table"; }

bench >"$folder/table" || exit 1
check "it prints the steps" printed '^tokens per second +[1-9][0-9]* +[1-9][0-9]*$'
check "it prints each family" same "$(grep -cE ' ms .* ms .* min$' "$folder/table")" 8
check "it leaves the batches of both steps" same "$(ls "$run/bench" | sed 's/-.*//' | sort | uniq -c | xargs)" \
    "10 batch 1 pass.safetensors 10 task"
check "it goes over the pairs where there is no STS-B" same \
    "$(tr -d ' \n' <"$run/bench.json" | grep -o '"pass":{"rows":[0-9]*,"title":"[^"]*","tokens":[0-9]*,"whole":[0-9]*}' |
        sed 's/"tokens":[0-9]*,//')" '"pass":{"rows":40,"title":"toyMRPC","whole":40}'
check "it says how many of the rows they are" printed "^one pass over 40 of the 40 rows of toy MRPC's development set, a row at a time"
check "it times a pass by its tenths" awk -F '[: ,]+' '/parts_one_core/ { n = 0; while (getline && $2 + 0 > 0) { n++; sum += $2 } tenths += n }
    /seconds_one_core/ { seconds += $3 } END { exit tenths != 20 || (sum - seconds) ^ 2 > 1e-12 }' "$run/bench.json"
check "it says that no GPU was measured" grep -q '"gpu": "no"' "$run/bench.json"
check "a share is one of the whole" awk -F ': |,' '/"share": [0-9]/ && $2 > 0 && $2 < 1.5 { n++ } END { exit n != 2 }' \
    "$run/bench.json"
cp "$run/bench.json" "$folder/first"
bench >/dev/null
estimate() { sed -n '/"estimate"/,/^  },*$/p' "$1"; }
check "the estimate is the same each time" same "$(estimate "$run/bench.json")" "$(estimate "$folder/first")"

sed 's/"sustained": "24"/"sustained": "fast"/' chapters/published.json >"$folder/published.json"
check "a limit that is no number" refuses "t4.sustained: expected a number" --published "$folder/published.json"
echo '{"t4": ' >"$folder/published.json"
check "published figures that are no JSON" refuses "published.json: line" --published "$folder/published.json"
check "a profile that is not there" refuses "nowhere.settings" --full nowhere.settings
exit $failed

#!/bin/sh
# distil inspect and distil gradients: help, wrong usage, wrong input, and nothing half-written left behind.
# What they write is compared with PyTorch in tests/parity.c.
. tests/check.sh
fixtures=tests/fixtures

refused() { # refused PART COMMAND ARGUMENT …: with status 1 and a message that holds PART, and no file left
    part=$1
    shift
    rm -f "$folder"/result*
    run 1 "$@" --out "$folder/result" && { grep -q "^distil: .*$part" "$folder/err" || { cat "$folder/err"; return 1; }; } \
        && same "$(ls "$folder" | grep result)" ""
}

inspect() { check "$1" refused "$2" inspect --model "${3:-$fixtures/bert-tiny}" --ids "$folder/ids"; }

check "inspect --help exits with 0" run 0 inspect --help
check "… and tells the usage" grep -q '^usage: distil inspect --model DIR' "$folder/out"
check "no model is wrong usage" run 2 inspect --ids x --out y
check "… and is named" grep -q '^distil: --model: ' "$folder/err"
check "an unknown option is wrong usage" run 2 inspect --model x --ids y --out z --fast 1
check "an option without its value is wrong usage" run 2 inspect --model x --ids y --out

printf '2 5 7 | 8 3\n2 3\n' >"$folder/ids"
check "two sequences are inspected" run 0 inspect --model $fixtures/bert-tiny --ids "$folder/ids" --out "$folder/result"
check "… into a file" grep -q 'hidden.4' "$folder/result"
printf '2 5 7 | 8 3\n2 3' >"$folder/ids"
mv "$folder/result" "$folder/first"
run 0 inspect --model $fixtures/bert-tiny --ids "$folder/ids" --out "$folder/result"
check "a last line needs no newline" cmp "$folder/first" "$folder/result"
run 0 inspect --model $fixtures/bert-bare --ids "$folder/ids" --out "$folder/bare"
check "a bare encoder has hidden states" grep -q hidden.2 "$folder/bare"
check "… and no logits" sh -c "! grep -q logits '$folder/bare'"

inspect "a folder that is not there is refused" "none" "$folder/none"
printf '2 5 x 3\n' >"$folder/ids"
inspect "a word that is no id is refused" 'line 1: expected ids and at most one "|", found "x 3'
printf '2 | 5 | 3\n' >"$folder/ids"
inspect "a second bar is refused" 'line 1: expected ids and at most one'
printf '2 5 3\n\n2 3\n' >"$folder/ids"
inspect "an empty line is refused" 'line 2: expected a sequence, found an empty line'
printf '2 97 3\n' >"$folder/ids"
inspect "an id that the model does not know is refused" 'token 1 has id 97; the model knows 0 to 96'
printf '2 99999999999 3\n' >"$folder/ids"
inspect "an enormous id is refused" 'line 1: expected ids'
: >"$folder/ids"
inspect "an empty file is refused" 'expected a line of ids, found none'

gradients() { check "$1" refused "$2" gradients --teacher $fixtures/bert-tiny --student "$3" --batch "$4"; }

batch=$fixtures/parity/batch-packed.safetensors
check "gradients --help exits with 0" run 0 gradients --help
check "… and tells the usage" grep -q '^usage: distil gradients --teacher DIR' "$folder/out"
check "no batch is wrong usage" run 2 gradients --teacher x --student y --out z
check "… and is named" grep -q '^distil: --batch: ' "$folder/err"
check "an unknown loss is wrong usage" run 2 gradients --teacher $fixtures/bert-tiny \
    --student $fixtures/distilbert-tiny --batch $batch --out "$folder/result" --loss hinge
check "… and is named" grep -q '^distil: hinge: ' "$folder/err"
gradients "a file that holds no batch is refused" 'expected a tensor "ids"' $fixtures/distilbert-tiny \
    $fixtures/parity/forward-bert-tiny.safetensors
gradients "a student with another vocabulary is refused" 'has 97 words; its student 37' \
    $fixtures/distilbert-plain $fixtures/parity/batch-small.safetensors
gradients "a student without an MLM head is refused" 'cls.predictions' $fixtures/bert-bare $batch
gradients "a batch that is no safetensors file is refused" 'config.json' $fixtures/distilbert-tiny \
    $fixtures/bert-tiny/config.json
exit $failed

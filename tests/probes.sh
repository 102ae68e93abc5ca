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
printf '2 3\n2 5 97 3\n' >"$folder/ids"
inspect "… by its line" 'ids: line 2: token 2 has id 97; the model knows 0 to 96'
seq -s ' ' 41 >"$folder/ids"
inspect "a sequence that is too long is refused" 'ids: line 1: has 41 ids; the model knows 40 positions'
printf '2 5 3 |\n' >"$folder/ids"
inspect "a second segment of nothing is refused" 'ids: line 1: expected ids after the "|"'
printf '2 5 \0003\n' >"$folder/ids"
inspect "a zero byte is refused" 'ids: line 1: holds a byte of zero'
rm "$folder/ids" && mkfifo "$folder/ids"
inspect "a pipe that nobody writes to is not waited for" 'expected a line of ids, found none'
printf '2 5 3\n' >"$folder/lines"
check "… one that somebody writes to is read" sh -c "cat '$folder/lines' | '$distil' inspect --model $fixtures/bert-tiny \
    --ids /dev/stdin --out '$folder/result'"
rm "$folder/ids" && ln -s /dev/zero "$folder/ids"
inspect "a device without an end is refused" 'bytes and is no file that ends'
rm "$folder/ids"
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

numbers() { # numbers SIZE NUMBER …: little-endian integers of so many bytes
    size=$1
    shift
    for n; do
        for i in $(seq "$size"); do
            printf "\\$(printf %03o $((n & 255)))"
            n=$((n >> 8))
        done
    done
}
batch() { # batch IDS LABELS LENGTHS [SHAPE]: a batch of these numbers in $folder/batch
    count=$(echo $1 | wc -w) shape=${4:-[$(echo $1 | wc -w)]} sequences=$(echo $3 | wc -w)
    ids=$((4 * count)) labels=$((8 * count)) lengths=$((8 * count + 4 * sequences))
    header="{\"ids\":{\"dtype\":\"I32\",\"shape\":$shape,\"data_offsets\":[0,$ids]},\
\"labels\":{\"dtype\":\"I32\",\"shape\":${5:-$shape},\"data_offsets\":[$ids,$labels]},\
\"lengths\":{\"dtype\":\"I32\",\"shape\":[$sequences],\"data_offsets\":[$labels,$lengths]}}"
    { numbers 8 ${#header}; printf %s "$header"; numbers 4 $1 $2 $3; } >"$folder/batch"
}
wrong() { gradients "$1" "$2" $fixtures/distilbert-tiny "$folder/batch"; }
check_batch() { run 0 gradients --teacher $fixtures/bert-tiny --student $fixtures/distilbert-tiny --batch "$folder/batch" \
    --out "$folder/result"; }

batch "2 5 7 3 2 6 3" "-100 5 -100 -100 -100 6 -100" "4 3"
check "a batch of two sequences is learnt" check_batch
batch "2 5 7 3 2 6 3 0" "-100 5 -100 -100 -100 6 -100 -100" "4 3" "[2,4]"
check "… and one of rows" check_batch
batch "2 5 7 3 2 6 3" "-100 5 -100 -100 -100 50000000 -100" "4 3"
wrong "a label beyond the vocabulary is refused" 'sequence 1: token 1 has label 50000000; expected -100 or 0 to 96'
batch "2 5 7 3 2 6 3" "-100 -7 -100 -100 -100 6 -100" "4 3"
wrong "… and one below" 'sequence 0: token 1 has label -7; expected -100 or 0 to 96'
batch "2 5 7 3 2 97 3" "-100 5 -100 -100 -100 6 -100" "4 3"
wrong "an id beyond the vocabulary is refused" 'sequence 1: token 1 has id 97; the models know 0 to 96'
batch "2 5 7 3 2 6 3 9" "-100 5 -100 -100 -100 6 -100 -100" "4 3" "[2,4]"
wrong "padding that is a word is refused" 'sequence 1: token 3 has id 9 beyond the length of 3'
batch "2 5 7 3 2 6 3" "-100 5 -100 -100 -100 6 -100" "4 -3"
wrong "a negative length is refused" 'sequence 1: a length of -3 does not fit the 7 ids'
batch "2 5 7 3 2 6 3" "-100 5 -100 -100 -100 6 -100" "4 3" "[1,1,7]"
wrong "ids in three dimensions are refused" 'has 7 "ids" in 3 dimensions'
batch "2 5 7 3 2 6 3" "-100 5 -100 -100 -100 6 -100" "4 3" "[7]" "[1,7]"
wrong "labels in another shape are refused" 'has labels of another shape than its ids'
batch "" "" "" "[5,0]"
wrong "rows of no slots are refused" 'has 0 ids; the 0 lengths want 0'
batch "$(seq -s ' ' 41)" "$(seq -s ' ' 41)" "41"
wrong "a sequence of more tokens than positions is refused" 'sequence 0 has 41 tokens; the models know 40 positions'
exit $failed

#!/bin/sh
# distil tokenize: its output, its help, and how it refuses wrong usage and wrong input.
. tests/check.sh
fixtures=tests/fixtures/tokenizer

tokenize() { run 0 tokenize --vocab $fixtures/vocab.txt "$@"; }

tokenize <$fixtures/lines.txt
check "lines give transformers' ids" cmp "$folder/out" $fixtures/lines.ids

printf 'the boat\ta coin\n\t\n' | tokenize --pair
printf '[CLS] the boat [SEP] a coin [SEP]\n[CLS] [SEP] [SEP]\n' >"$folder/names"
awk 'NR == FNR { piece[FNR - 1] = $0; next }
     { for (i = 1; i <= NF; i++) printf "%s%s", piece[$i], i < NF ? " " : "\n" }' \
    $fixtures/vocab.txt "$folder/out" >"$folder/pieces"
sed 's/ ##//g' "$folder/pieces" >"$folder/words"
check "a pair has two segments" cmp "$folder/words" "$folder/names"

printf 'no tab here' >"$folder/in"
check "a pair without a tab is refused" run 1 tokenize --vocab $fixtures/vocab.txt --pair <"$folder/in"
check "… by line" grep -q 'distil: standard input: line 1: expected two texts' "$folder/err"

printf 'harbour' >"$folder/in"
printf 'harbour\n' >"$folder/in2"
tokenize <"$folder/in"
cp "$folder/out" "$folder/first"
tokenize <"$folder/in2"
check "a last line needs no newline" cmp "$folder/out" "$folder/first"

check "help exits with 0" run 0 tokenize --help
check "… and tells the usage" grep -q '^usage: distil tokenize --vocab FILE' "$folder/out"
check "no vocabulary is wrong usage" run 2 tokenize </dev/null
check "an unknown option is wrong usage" run 2 tokenize --vocab $fixtures/vocab.txt --pairs </dev/null
check "… and is named" grep -q 'distil: --pairs: ' "$folder/err"
check "a missing vocabulary is an error" run 1 tokenize --vocab "$folder/none" </dev/null
check "… and is named" grep -q "distil: $folder/none: cannot be opened" "$folder/err"
exit $failed

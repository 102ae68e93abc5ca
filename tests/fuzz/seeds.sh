#!/bin/sh
# seeds.sh FOLDER: fills FOLDER/TARGET with something for each fuzzer to begin with, made from the fixtures, so that it
# need not find out for itself what a chapter, a table or a header looks like.
set -eu
seeds=$1
rm -rf "$seeds"
mkdir -p "$seeds/safetensors" "$seeds/tangle" "$seeds/task" "$seeds/tokenizer"

# small files whole; of large ones the header and what a cut leaves of the tensors
for file in tests/fixtures/*/*.safetensors; do
    head -c 8192 "$file" >"$seeds/safetensors/$(echo "$file" | tr / -)"
done

# a second chapter follows behind 0x1E
for case in tests/tangle/*/; do
    { cat "$case/1.md"; [ ! -f "$case/2.md" ] || { printf '\036'; cat "$case/2.md"; }; } >"$seeds/tangle/$(basename "$case")"
done

# the first letter chooses the table and the limit on rows, @ to C without one; development pairs follow behind 0x1E
${BUILD:-build}/distil toyland --out "$seeds/toyland" --seed 1 --paragraphs 0 --train 8 --dev 4
glue=$seeds/toyland/glue
pairs=$glue/MRPC/msr_paraphrase_train.txt
for rows in @ D H; do
    { printf $rows; cat "$glue/CoLA/train.tsv"; } >"$seeds/task/cola-$rows"
done
{ printf A; cat "$pairs"; } >"$seeds/task/mrpc-of-glue"
{ printf B; cat "$pairs"; printf '\036'; cat "$glue/MRPC/mrpc_dev_ids.tsv"; } >"$seeds/task/mrpc"
{ printf 'Csentence\tlabel\n'; awk -F '\t' '{ print $4 "\t" $2 }' "$glue/CoLA/train.tsv"; } >"$seeds/task/sst2"
rm -r "$seeds/toyland"

# lines of text, a few at a time; and with pieces of a vocabulary in front, ended by 0x1E
split -l 16 tests/fixtures/tokenizer/lines.txt "$seeds/tokenizer/lines-"
for lines in "$seeds"/tokenizer/lines-a[a-f]; do
    { shuf -n 100 --random-source=tests/fixtures/tokenizer/vocab.txt tests/fixtures/tokenizer/vocab.txt
        printf '\036'; cat "$lines"; } >"$lines-vocabulary"
done

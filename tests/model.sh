#!/bin/sh
# Model folders through the whole program: what is wrong with one is named, and nothing is left behind.
. tests/check.sh
fixtures=$root/tests/fixtures
cd "$folder" || exit 1

fresh() { rm -rf model out.safetensors*; cp -r "$fixtures/$1" model; }
inspect() { "$distil" inspect --model model --ids ids.txt --out out.safetensors; }
refuses() { # refuses MESSAGE: inspect must say this in one line, exit with 1 and leave nothing
    inspect >said 2>&1; status=$?
    cat said
    [ "$status" = 1 ] && [ "$(wc -l <said)" = 1 ] && grep -q '^distil: ' said && grep -qF "$1" said \
        && ! ls out.safetensors* 2>/dev/null
}
config() { sed "$1" model/config.json >changed && mv changed model/config.json; } # config SED-SCRIPT

echo "2 5 6 7 | 8 9 3" >ids.txt
fresh bert-plain; inspect; mv out.safetensors plain.safetensors
fresh bert-old; inspect
check "old names and F16 compute the same" cmp plain.safetensors out.safetensors
fresh bert-untied; config '/tie_word_embeddings/d'; inspect; mv out.safetensors unsaid.safetensors
fresh bert-untied; inspect
check "a separate decoder is used, whether the config says so or not" cmp unsaid.safetensors out.safetensors

rm -r model out.safetensors
check "a missing folder" refuses "model/config.json: cannot be opened: No such file or directory"
fresh bert-plain; rm model/model.safetensors
check "missing weights" refuses "model: has no model.safetensors"
fresh bert-plain; touch model/pytorch_model.bin; rm model/model.safetensors
check "a pickle" refuses "model: has no model.safetensors: it has only a pickle"
fresh bert-plain; head -c 1000 model/model.safetensors >cut && mv cut model/model.safetensors
check "weights cut in their header" refuses "model/model.safetensors: claims a header of 4424 bytes, but only 992 follow"
fresh bert-plain; head -c 20000 model/model.safetensors >cut && mv cut model/model.safetensors
check "weights cut in their data" refuses "model/model.safetensors: tensor "
fresh bert-plain; config 's/"num_hidden_layers": 2/"num_hidden_layers": 3/'
check "a layer too few" refuses 'model/model.safetensors: has no tensor "bert.encoder.layer.2.'
fresh bert-plain; config 's/"intermediate_size": 24/"intermediate_size": 25/'
check "another size" refuses 'intermediate.dense.weight" is [24, 16]; expected [25, 16] by config.json'
fresh bert-plain; config 's/"gelu"/"gelu_new"/'
check "another activation" refuses 'model/config.json: has "hidden_act" "gelu_new"; only "gelu" is computed here'
fresh bert-plain; config 's/"model_type": "bert"/"model_type": "roberta"/'
check "another family" refuses 'model/config.json: is of a "roberta"; expected "bert" or "distilbert"'
fresh distilbert-plain; config '/"dim"/d'
check "a size that is not stated" refuses 'model/config.json: has no whole number "dim"'

fresh bert-plain; printf 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n' >model/model.safetensors
check "a pointer of Git LFS" refuses 'model/model.safetensors: is a Git LFS pointer'
fresh bert-plain; echo "version https://git-lfs.github.com/spec/v1" >model/config.json
check "… in the place of a config" refuses 'model/config.json: is a Git LFS pointer'
for file in config.json model.safetensors; do
    fresh bert-plain; rm model/$file; mkfifo model/$file
    check "a pipe in the place of $file is not waited for" refuses "model/$file: is "
done
fresh bert-plain; mv model/config.json model/adapter_config.json
check "an adapter without its model" refuses 'model: is an adapter'
fresh bert-plain; sed -i 's/bert\.encoder/blob.encoder/g' model/model.safetensors
check "tensors under other names" refuses 'has no tensor "bert.encoder.layer.0.attention.self.query.weight"; the first of its'
fresh bert-plain; config 's/"num_hidden_layers": 2/"num_hidden_layers": 1/'
check "a layer too many" refuses 'but config.json only 1 layers'
fresh bert-plain; config 's/"pad_token_id": 0/"pad_token_id": 3/'
check "another padding" refuses 'model/config.json: has "pad_token_id" 3; only 0 is followed here'
fresh bert-plain; config 's/"vocab_size": 37/"vocab_size": 16000000/; s/"hidden_size": 16/"hidden_size": 65536/'
small() { (ulimit -v 4000000; refuses 'is [37, 16]; expected [16000000, 65536] by config.json'); }
check "sizes that no file has, before there is memory for them" small

# A folder as transformers 5 saves it: tokenizer.json and no vocab.txt
fresh bert-plain; mv model/vocab.txt .; cp "$fixtures"/tokenizer/saved/* model
check "a vocabulary larger than the word table" refuses 'model: has a vocabulary of 868 pieces, but its config.json a word table of only 37'
rm -rf saved out; cp -r "$fixtures/tokenizer/saved" saved
encode() { "$distil" tokenize --vocab "$1" <"$fixtures/tokenizer/lines.txt" 2>said | cmp -s - "$fixtures/tokenizer/$2"; }
check "a folder without vocab.txt is read" encode saved lines.ids
check "… and its tokenizer.json" encode saved/tokenizer.json lines.ids
cp "$fixtures/tokenizer/vocab.txt" saved; encode saved lines.ids
check "a vocab.txt that agrees is not spoken of" test ! -s said
sed '20s/$/x/' "$fixtures/tokenizer/vocab.txt" >saved/vocab.txt; encode saved lines.ids
check "one that does not is not followed, which is said" grep -q '^distil: saved/tokenizer.json: warning: differs from the vocab.txt beside from piece 19 on' said
sed 's/"lowercase": true/"lowercase": false/' "$fixtures/tokenizer/saved/tokenizer.json" >saved/tokenizer.json
encode saved lines.ids
check "two files that contradict each other are refused" grep -q '"lowercase" false, and the tokenizer_config.json beside it' said
exit $failed

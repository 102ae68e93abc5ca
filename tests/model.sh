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
exit $failed

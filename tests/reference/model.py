"""Writes the model folders of tests/fixtures with transformers (run from the repository's root):

    python tests/reference/model.py fixtures

and holds the program against transformers and the safetensors package:

    KEEP=FOLDER build/tests/model && python tests/reference/model.py check FOLDER

The second loads the folders that the test wrote: no tensor may be missing or left over, the tokenizer must come
along, and the logits must be those of the fixture, or of a student built here from the teacher's layers.
    python tests/reference/model.py use FOLDER …

takes folders that the program wrote as anybody would, through the tokenizer that comes along and a pipeline, and holds
ids and logits against the program's own. For transformers 4 and 5.
The fixtures are committed; none of the commands is needed by `make test`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
import transformers
from transformers import (AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
                          AutoTokenizer, BertConfig, BertForMaskedLM, BertForQuestionAnswering,
                          BertForSequenceClassification, BertModel, DistilBertConfig, DistilBertForMaskedLM,
                          DistilBertForQuestionAnswering, DistilBertForSequenceClassification, pipeline)

FIXTURES = "tests/fixtures"


def vocabulary(size):
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ("the of and to in is was for on with he she it they sees see likes like good bad cat dog cats dogs tree "
             "house reads read book books never not very red blue green . , ! ?").split()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(letters)
    pieces += ["##" + c for c in letters] + words if size > 60 else words
    return pieces[:size]


def fill(model, seed, grid=None):
    """Random weights large enough that an error anywhere shows: N(0, 0.2), gains around 1.
    grid: rounds them to multiples of it, so that F16 and BF16 hold them exactly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
            if "norm" in name.lower() and name.endswith("weight"):
                p += 1
            if grid:
                p.copy_((p / grid).round() * grid)
    return model.eval()


def write(name, model, change=lambda tensors: tensors):
    """Saves the model as transformers does, then changes its tensors (names, types)."""
    folder = f"{FIXTURES}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    path = f"{folder}/model.safetensors"
    save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path, metadata={"format": "pt"})
    pieces = vocabulary(model.config.vocab_size)
    assert len(pieces) == len(set(pieces)) == model.config.vocab_size
    with open(f"{folder}/vocab.txt", "w") as out:
        out.writelines(piece + "\n" for piece in pieces)


def fixtures():
    tiny = dict(vocab_size=97, max_position_embeddings=40, initializer_range=0.2)
    bert = dict(tiny, hidden_size=32, num_attention_heads=4, intermediate_size=64, num_hidden_layers=4)
    distil = dict(tiny, dim=32, n_heads=4, hidden_dim=64, n_layers=2)
    write("bert-tiny", fill(BertForMaskedLM(BertConfig(**bert)), 1))
    write("distilbert-tiny", fill(DistilBertForMaskedLM(DistilBertConfig(**distil)), 2))

    small = dict(vocab_size=37, max_position_embeddings=12, initializer_range=0.2)
    bert = dict(small, hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2)
    distil = dict(small, dim=16, n_heads=2, hidden_dim=24, n_layers=1)
    write("bert-classifier", fill(BertForSequenceClassification(BertConfig(**bert, num_labels=3)), 3))
    write("distilbert-classifier",
          fill(DistilBertForSequenceClassification(DistilBertConfig(**distil, num_labels=2)), 4))
    write("bert-untied", fill(BertForMaskedLM(BertConfig(**bert, tie_word_embeddings=False)), 5))
    write("distilbert-untied", fill(DistilBertForMaskedLM(DistilBertConfig(**distil, tie_word_embeddings=False)), 6))

    # One model in four dresses: as it is; with the names of 2018, a decoder that repeats the word table, and F16;
    # as a bare BertModel in BF16 with its pooler and the buffer that older versions stored; and the same for DistilBERT.
    plain = fill(BertForMaskedLM(BertConfig(**bert)), 7, grid=1 / 64)
    write("bert-plain", plain)

    def old(tensors):
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        rename = lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias",
                                                                                          "LayerNorm.beta")
        return {rename(name): tensor.half() for name, tensor in tensors.items()}

    write("bert-old", plain, old)
    bare = fill(BertModel(BertConfig(**bert)), 8, grid=1 / 64)
    bare.load_state_dict({k: v for k, v in plain.bert.state_dict().items()}, strict=False)

    def thin(tensors):
        tensors = {name: tensor.bfloat16() for name, tensor in tensors.items()}
        first = next(name for name in tensors if name.endswith("word_embeddings.weight"))
        tensors[first.replace("word_embeddings.weight", "position_ids")] = torch.arange(12).reshape(1, 12)
        return tensors

    write("bert-bare", bare, thin)
    plain = fill(DistilBertForMaskedLM(DistilBertConfig(**distil)), 9, grid=1 / 64)
    write("distilbert-plain", plain)
    write("distilbert-bare", plain.distilbert, thin)
    write("bert-number", fill(BertForSequenceClassification(BertConfig(**bert, num_labels=1)), 10))
    write("bert-span", fill(BertForQuestionAnswering(BertConfig(**bert)), 11))
    write("distilbert-span", fill(DistilBertForQuestionAnswering(DistilBertConfig(**distil)), 12))


TEXTS = ["the dog sees a red book .", "She likes the Öld, 中文 house!", "a b"]


def use(folder):
    """A folder in the hands of a user: what goes in is text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, left = load(folder)
    assert not left, left
    kind = type(model).__name__
    coded = [tokenizer(text, return_tensors="pt") for text in TEXTS]
    own = subprocess.run(["build/distil", "tokenize", "--vocab", folder], input="\n".join(TEXTS), capture_output=True, text=True,
                         check=True).stdout.splitlines()
    ours = [[int(i) for i in line.split()] for line in own]
    assert ours == [c["input_ids"][0].tolist() for c in coded], (ours, coded)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        with open(f"{place}/ids", "w") as out:
            print(*own, sep="\n", file=out)
        subprocess.run(["build/distil", "inspect", "--model", folder, "--ids", f"{place}/ids", "--out", f"{place}/out"],
                       check=True)
        wanted = load_file(f"{place}/out")["logits"]
        results = [model(**c) for c in coded]  # what the tokenizer gives, all of it
    rows = [torch.stack((r.start_logits[0], r.end_logits[0]), 1) if "Question" in kind else r.logits[0].reshape(
        -1, wanted.shape[1]) for r in results]
    difference = (torch.cat(rows) - wanted).abs().max().item()
    assert difference < 1e-4, difference
    task = {"MaskedLM": "fill-mask", "Classification": "text-classification", "Answering": "question-answering"}
    task = next(t for end, t in task.items() if kind.endswith(end))
    said = ""
    if task == "fill-mask":
        said = [a["token_str"] for a in pipeline(task, folder)(f"the {tokenizer.mask_token} sees a book .")]
    elif task == "text-classification":
        said = pipeline(task, folder)(TEXTS[0])
    print(f"transformers {transformers.__version__}: {kind}: ids equal, logits within {difference:.1e}, {task}: {said}")


def load(folder):
    with open(f"{folder}/config.json") as config:
        kind = json.load(config)["architectures"][0]
    auto = (AutoModelForSequenceClassification if kind.endswith("Classification") else
            AutoModelForQuestionAnswering if kind.endswith("QuestionAnswering") else AutoModelForMaskedLM)
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    return model.eval(), {name: what for name, what in info.items() if what}


def logits(model):
    ids = torch.arange(2, 12).reshape(2, 5)
    with torch.no_grad():
        out = model(input_ids=ids)
        return out.logits if "logits" in out else torch.stack([out.start_logits, out.end_logits])


def student(teacher, layers):
    """What extract_distilbert.py of the paper's code does, with the modules of today."""
    t = teacher.config
    s = DistilBertForMaskedLM(DistilBertConfig(
        vocab_size=t.vocab_size, max_position_embeddings=t.max_position_embeddings, dim=t.hidden_size,
        n_heads=t.num_attention_heads, hidden_dim=t.intermediate_size, n_layers=len(layers),
        tie_word_embeddings=t.tie_word_embeddings)).eval()
    copies = [(s.distilbert.embeddings.word_embeddings, teacher.bert.embeddings.word_embeddings),
              (s.distilbert.embeddings.position_embeddings, teacher.bert.embeddings.position_embeddings),
              (s.distilbert.embeddings.LayerNorm, teacher.bert.embeddings.LayerNorm),
              (s.vocab_transform, teacher.cls.predictions.transform.dense),
              (s.vocab_layer_norm, teacher.cls.predictions.transform.LayerNorm),
              (s.vocab_projector, teacher.cls.predictions.decoder)]
    for to, i in zip(s.distilbert.transformer.layer, layers):
        of = teacher.bert.encoder.layer[i]
        copies += [(to.attention.q_lin, of.attention.self.query), (to.attention.k_lin, of.attention.self.key),
                   (to.attention.v_lin, of.attention.self.value), (to.attention.out_lin, of.attention.output.dense),
                   (to.sa_layer_norm, of.attention.output.LayerNorm), (to.ffn.lin1, of.intermediate.dense),
                   (to.ffn.lin2, of.output.dense), (to.output_layer_norm, of.output.LayerNorm)]
    for to, of in copies:
        to.load_state_dict(of.state_dict())
    return s


def check(folder):
    expected = {name: load(f"{FIXTURES}/{name}")[0]
                for name in ["bert-tiny", "distilbert-tiny", "bert-classifier", "distilbert-classifier", "bert-untied",
                             "distilbert-untied", "bert-old", "bert-number", "bert-span", "distilbert-span"]}
    expected["student-of-bert-tiny"] = student(expected["bert-tiny"], [0, 3])
    expected["student-of-bert-untied"] = student(expected["bert-untied"], [1])
    for name, model in expected.items():
        written, complaints = load(f"{folder}/{name}")
        assert not complaints, (name, complaints)
        assert torch.equal(logits(model), logits(written)), name
        if name.startswith("student"):
            assert not torch.equal(logits(model), logits(expected[name[len("student-of-"):]]))
        tokenizer = AutoTokenizer.from_pretrained(f"{folder}/{name}")
        assert tokenizer("A b").input_ids == [2, 5, 6, 3], name
        assert tokenizer.model_max_length == model.config.max_position_embeddings
        changed = {key for key, value in model.config.to_dict().items()
                   if written.config.to_dict().get(key) != value} - {"_name_or_path", "transformers_version", "dtype"}
        print(f"{name}: loads whole, same logits" + (f"; config differs in {changed}" if changed else ""))


if __name__ == "__main__":
    if sys.argv[1] == "use":
        for folder in sys.argv[2:]:
            use(folder)
    else:
        {"fixtures": fixtures, "check": check}[sys.argv[1]](*sys.argv[2:])

"""Loads every model folder of a finished run in transformers, and compares its logits with those of `distil inspect`.

usage: python tests/reference/logits.py --run results/mini --text build/mini/data/corpus/wiki.valid.tokens
           [--distil build/distil]

A dozen lines of the text, a token of each masked. The difference is relative to the largest logit; the script fails
above 1e-5, on a word predicted differently, on a tensor that transformers misses or does not know, and on a token that
differs.
"""

import argparse
import os
import subprocess
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("--run", required=True)
parser.add_argument("--text", required=True)
parser.add_argument("--distil", default="build/distil")
options = parser.parse_args()

with open(options.text, encoding="utf-8") as text:
    lines = [line.strip() for line in text if line.strip() and "=" not in line][:120:10]

for name in sorted(os.listdir(f"{options.run}/models")):
    folder = f"{options.run}/models/{name}"
    model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    model = model.double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sequences = [tokenizer(line)["input_ids"] for line in lines]
    own = subprocess.run([options.distil, "tokenize", "--vocab", f"{folder}/vocab.txt"], input="\n".join(lines),
                         capture_output=True, text=True, check=True).stdout
    assert own.splitlines() == [" ".join(map(str, ids)) for ids in sequences], f"{name}: other tokens"
    for ids in sequences:
        del ids[model.config.max_position_embeddings:]
        ids[len(ids) // 2] = tokenizer.mask_token_id
    with tempfile.TemporaryDirectory() as work, torch.no_grad():
        with open(f"{work}/ids", "w") as stream:
            stream.writelines(" ".join(map(str, ids)) + "\n" for ids in sequences)
        subprocess.run([options.distil, "inspect", "--model", folder, "--ids", f"{work}/ids",
                        "--out", f"{work}/out.safetensors"], check=True)
        found = load_file(f"{work}/out.safetensors")["logits"].double()
        expected = torch.cat([model(torch.tensor([ids])).logits[0] for ids in sequences])
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    assert torch.equal(found.argmax(-1), expected.argmax(-1)), f"{name}: other predictions"
    print(f"{name}: {type(model).__name__}, {len(expected)} tokens, error {error:.1e}")
    assert error < 1e-5, f"{name}: the logits differ"
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), report

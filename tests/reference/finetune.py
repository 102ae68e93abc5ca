"""Fine-tunes a model folder on CoLA, MRPC or STS-B with transformers, with the settings of a profile: what
`distil finetune` is held against. Prints the score of each seed in percent.

    python tests/reference/finetune.py --profile code/compact.settings --data DIR --task cola --model DIR --seeds 1 2 3
"""
import argparse
import configparser
import pathlib
import random

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_scheduler


def read_cola(data, split):
    path = data / "glue/CoLA" / f"{split}.tsv"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row[3], None, int(row[1])) for row in rows]


def read_mrpc(data, split):
    folder = data / "glue/MRPC"
    dev = {tuple(line.split("\t")) for line in (folder / "mrpc_dev_ids.tsv").read_text().splitlines()}
    lines = (folder / "msr_paraphrase_train.txt").read_text(encoding="utf-8-sig").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [(r[3], r[4], int(r[0])) for r in rows if ((r[1], r[2]) in dev) == (split == "dev")]


def read_stsb(data, split):
    lines = (data / "glue/STS-B" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    name = lines[0].split("\t").index
    rows = [line.split("\t") for line in lines[1:]]
    return [(r[name("sentence1")], r[name("sentence2")], float(r[name("score")])) for r in rows]


def score(task, labels, predictions):
    if task == "cola":
        return 100 * matthews_corrcoef(labels, predictions)
    if task == "stsb":
        return 50 * (pearsonr(labels, predictions)[0] + spearmanr(labels, predictions)[0])
    accuracy = float(np.mean(np.array(labels) == np.array(predictions)))
    return 50 * (accuracy + f1_score(labels, predictions))


def encode(tokenizer, rows, length):
    padded = {"padding": True, "truncation": "longest_first", "max_length": length, "return_tensors": "pt"}
    second = [row[1] for row in rows] if rows[0][1] is not None else None
    return tokenizer([row[0] for row in rows], second, **padded)


def run(settings, task, model_folder, train, dev, seed):
    get = lambda key: settings.get(task, key, fallback=None) or settings.get("finetune", key)
    random.seed(seed)
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=1 if task == "stsb" else 2)
    size, epochs, length = int(get("batch")), int(get("epochs")), int(get("length"))
    decayed = [p for n, p in model.named_parameters() if p.dim() > 1]
    others = [p for n, p in model.named_parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": float(get("decay"))}, {"params": others, "weight_decay": 0.0}],
        lr=float(get("rate")), betas=(float(get("beta1")), float(get("beta2"))), eps=float(get("epsilon")))
    steps = epochs * -(-len(train) // size)
    kind = {"linear": "linear", "constant": "constant_with_warmup"}[get("schedule")]
    schedule = get_scheduler(kind, optimizer, int(float(get("warmup")) * steps), steps)
    model.train()
    for _ in range(epochs):
        order = random.sample(range(len(train)), len(train))
        for first in range(0, len(order), size):
            rows = [train[i] for i in order[first:first + size]]
            loss = model(**encode(tokenizer, rows, length), labels=torch.tensor([r[2] for r in rows])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), float(get("clip")))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    predictions = []
    with torch.no_grad():
        for first in range(0, len(dev), 64):
            logits = model(**encode(tokenizer, dev[first:first + 64], length)).logits
            predictions += (logits[:, 0] if task == "stsb" else logits.argmax(-1)).tolist()
    return score(task, [row[2] for row in dev], predictions)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--task", choices=["cola", "mrpc", "stsb"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    settings = configparser.ConfigParser(inline_comment_prefixes="#")
    settings.read(arguments.profile)
    read = {"cola": read_cola, "mrpc": read_mrpc, "stsb": read_stsb}[arguments.task]
    train, dev = read(arguments.data, "train"), read(arguments.data, "dev")
    for seed in arguments.seeds:
        found = run(settings, arguments.task, arguments.model, train, dev, seed)
        print(arguments.task, seed, round(found, 2), flush=True)


if __name__ == "__main__":
    main()

"""Holds the trainer's speed against PyTorch's: the same batches, the same models, in one run, in turns.

    python tests/reference/bench.py --rounds 3 --run results/mini --teacher MODEL -- build/distil bench …

Everything after -- is the command that measures the trainer; it writes RUN/bench.json and the work in RUN/bench/.
The medians over the rounds, PyTorch's beside the trainer's, are added to RUN/bench.json under "pytorch".
PyTorch does what is usual: eager mode, batches padded to their longest sequence, its own threads.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification


def padded(path):
    """ids, labels and mask [sequences, longest] of a packed batch."""
    batch = load_file(path)
    lengths = batch["lengths"].tolist()
    pad = lambda x, value: torch.nn.utils.rnn.pad_sequence(
        x.long().split(lengths), batch_first=True, padding_value=value)
    return pad(batch["ids"], 0), pad(batch["labels"], -100), pad(torch.ones_like(batch["ids"]), 0)


def distillation(teacher, student, batches, warm_up=2):
    """Tokens per second of the triple-loss step, padding not counted."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5)
    teacher.eval(), student.train()
    tokens, began = 0, time.perf_counter()
    for step, (ids, labels, mask) in enumerate(batches):
        if step == warm_up:
            tokens, began = 0, time.perf_counter()
        tokens += int(mask.sum())
        with torch.no_grad():
            t = teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        s = student(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        real = mask.bool()
        mlm = F.cross_entropy(s.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        kl = 4 * F.kl_div(F.log_softmax(s.logits[real] / 2, -1), F.softmax(t.logits[real] / 2, -1),
                          reduction="batchmean")
        cosine = 1 - F.cosine_similarity(s.hidden_states[-1][real], t.hidden_states[-1][real], dim=-1).mean()
        (2 * mlm + 5 * kl + cosine).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return tokens / (time.perf_counter() - began)


@torch.no_grad()
def one_pass(model, sentences, threads):
    """Seconds for all sentences, one at a time; the better of two passes."""
    torch.set_num_threads(threads)
    model.eval()
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        for ids in sentences:
            model(input_ids=ids)
        best = min(best, time.perf_counter() - began)
    torch.set_num_threads(os.cpu_count())
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", required=True)
    parser.add_argument("--teacher", required=True, help="the folder that bench has as --model")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        subprocess.run(arguments.command, check=True, stdout=subprocess.DEVNULL)
        found = json.load(open(f"{arguments.run}/bench.json"))
        ours.append({"distillation": found["distillation"]["tokens_per_second"],
                     **{f"{m} {c}": found["models"][m][f"seconds_{c}"] for m in ("teacher", "student")
                        for c in ("one_core", "all_cores")}})
        batches = [padded(p) for p in sorted(glob.glob(f"{arguments.run}/bench/batch-*.safetensors"))]
        work = load_file(f"{arguments.run}/bench/sentences.safetensors")
        sentences = [ids.long()[None] for ids in work["ids"].split(work["lengths"].tolist())]
        models = f"{arguments.run}/models"
        numbers = {"distillation": distillation(AutoModelForMaskedLM.from_pretrained(f"{models}/teacher"),
                                                AutoModelForMaskedLM.from_pretrained(f"{models}/student"), batches)}
        for name, folder in (("teacher", arguments.teacher), ("student", f"{models}/student")):
            model = AutoModelForSequenceClassification.from_pretrained(folder)
            numbers[f"{name} one_core"] = one_pass(model, sentences, 1)
            numbers[f"{name} all_cores"] = one_pass(model, sentences, os.cpu_count())
        theirs.append(numbers)
    found = json.load(open(f"{arguments.run}/bench.json"))
    found["pytorch"] = {"version": torch.__version__, "rounds": arguments.rounds}
    for key in theirs[0]:
        a, b = (statistics.median(r[key] for r in rows) for rows in (ours, theirs))
        ratio = a / b if key == "distillation" else b / a
        found["pytorch"][key] = {"trainer": a, "pytorch": b, "speed_ratio": ratio}
        print(f"{key:20} trainer {a:10.3f}  pytorch {b:10.3f}  {ratio:.2f} times PyTorch's speed")
    with open(f"{arguments.run}/bench.json.partial", "w") as stream:
        json.dump(found, stream, indent=2, sort_keys=True)
    os.rename(f"{arguments.run}/bench.json.partial", f"{arguments.run}/bench.json")


if __name__ == "__main__":
    main()

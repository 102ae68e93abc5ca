"""Holds the trainer's speed against PyTorch's: the same batches, the same models, in one run, in turns.

    python tests/reference/bench.py --rounds 3 --run results/mini --teacher MODEL -- build/distil bench …

Everything after -- is the command that measures the trainer; it writes RUN/bench.json and the work in RUN/bench/.
The medians over the rounds, PyTorch's beside the trainer's, are added to RUN/bench.json under "pytorch". Where ONNX
Runtime is installed too, it goes over the rows of the pass with the same weights, which PyTorch exports; its times are
added under "onnxruntime".
On a processor PyTorch does what is usual; on a GPU it is asked for the two recipes that bracket what it can do:

    usual     fp32, eager mode, each batch padded to its longest sequence
    course    the course project's, as it was: fp32, eager mode and attention, every sequence padded to 128 (in
              fine-tuning 256) slots, its loss
    practice  the best usual practice: autocast to fp16 with a gradient scaler, fused attention, torch.compile, a fused
              optimiser, and the sequences sorted by length before they are cut into batches

A recipe that fails is left out, and said so. --device and --recipes choose others than these.
"""
import argparse
import dataclasses
import glob
import hashlib
import json
import os
import random
import statistics
import subprocess
import tempfile
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

try:
    import onnxruntime
except ImportError:
    onnxruntime = None


@dataclasses.dataclass
class Recipe:
    attention: str = "sdpa"
    slots: tuple = (0, 0)      # of a sequence in distillation and in fine-tuning; 0: as many as the longest
    fp16: bool = False         # autocast, a scaler, and a teacher in fp16
    compiled: bool = False
    grouped: bool = False      # by length
    course_loss: bool = False


RECIPES = {
    "usual": Recipe(),
    "course": Recipe(attention="eager", slots=(128, 256), course_loss=True),
    "practice": Recipe(fp16=True, compiled=True, grouped=True),
}
PASSES = 3     # timed, at most
PATIENCE = 10  # seconds; a pass that takes long needs no second one


# The work ------------------------------------------------------------------------------------------------------------

def read_batches(pattern):
    """The batches that the trainer left: lists of (ids, labels, class)."""
    batches = []
    for path in sorted(glob.glob(pattern)):
        file = load_file(path)
        lengths = file["lengths"].tolist()
        batches.append(list(zip(file["ids"].long().split(lengths), file["labels"].long().split(lengths),
                                file["classes"].long())))
    if not batches:
        raise SystemExit(f"{pattern}: expected the batches that distil bench leaves, found none")
    return batches


def regroup(batches):
    """The same sequences in as many batches, each of sequences of about one length."""
    size = len(batches[0])
    pool = sorted((sequence for batch in batches for sequence in batch), key=lambda sequence: len(sequence[0]))
    grouped = [pool[first:first + size] for first in range(0, len(pool), size)]
    random.Random(1).shuffle(grouped)
    return grouped


def padded(batch, slots, device):
    """ids, labels and mask [sequences, slots], and classes [sequences]."""
    columns = []
    for texts, value in ((0, 0), (1, -100), (None, 0)):
        rows = [torch.ones_like(s[0]) if texts is None else s[texts] for s in batch]
        table = torch.full((len(batch), slots), value)
        for row, values in zip(table, rows):
            row[:len(values)] = values
        columns.append(table.to(device))
    return (*columns, torch.stack([s[2] for s in batch]).to(device))


def prepare(batches, recipe, slots, positions, device):
    """Padded batches, and how many real tokens they have."""
    tokens = sum(len(sequence[0]) for batch in batches for sequence in batch)
    if recipe.grouped:
        batches = regroup(batches)
    tables = []
    for batch in batches:
        width = max(len(sequence[0]) for sequence in batch)
        if slots:
            width = max(width, min(slots, positions))
        elif recipe.fp16:
            width = min(-(-width // 8) * 8, positions)  # what tensor cores like
        tables.append(padded(batch, width, device))
    return tables, tokens


# The steps -----------------------------------------------------------------------------------------------------------

def triple_loss(teacher, student):
    """The paper's: means over the tokens that are not padding, cosine of the last hidden states."""
    def loss(ids, labels, mask, classes):
        with torch.no_grad():
            t = teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        s = student(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        share = mask.float() / mask.sum()
        mlm = F.cross_entropy(s.logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100)
        kl = F.kl_div(F.log_softmax(s.logits.float() / 2, -1), F.softmax(t.logits.float() / 2, -1),
                      reduction="none").sum(-1)
        cosine = 1 - F.cosine_similarity(s.hidden_states[-1].float(), t.hidden_states[-1].float(), dim=-1)
        return 2 * mlm + 5 * 4 * (kl * share).sum() + (cosine * share).sum()
    return loss


def course_loss(teacher, student):
    """The course project's: padding counts, KL over the number of sequences, cosine of every layer."""
    step = teacher.config.num_hidden_layers // student.config.num_hidden_layers

    def loss(ids, labels, mask, classes):
        with torch.no_grad():
            t = teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        s = student(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        mlm = F.cross_entropy(s.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        kl = 4 * F.kl_div(F.log_softmax(s.logits / 2, -1), F.softmax(t.logits / 2, -1), reduction="batchmean")
        cosine = torch.stack([1 - F.cosine_similarity(state, t.hidden_states[1 + layer * step], dim=-1).mean()
                              for layer, state in enumerate(s.hidden_states[1:])]).mean()
        return 0.5 * mlm + 0.5 * kl + cosine
    return loss


def class_loss(model):
    def loss(ids, labels, mask, classes):
        return F.cross_entropy(model(input_ids=ids, attention_mask=mask).logits.float(), classes)
    return loss


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def tokens_per_second(model, loss, recipe, tables, tokens, device):
    """Of steps over all tables, the quickest of a few passes. One pass before them compiles and warms up."""
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True if recipe.fp16 and on_gpu else None)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.fp16)
    if recipe.compiled:
        loss = torch.compile(loss, dynamic=True)  # batches of all widths with one compilation

    def one_pass():
        began = time.perf_counter()
        for table in tables:
            with torch.autocast(device.type, dtype=torch.float16, enabled=recipe.fp16):
                value = loss(*table)
            scaler.scale(value).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
        wait(device)
        return time.perf_counter() - began

    one_pass()
    times = []
    while len(times) < PASSES and sum(times) < PATIENCE:
        times.append(one_pass())
    return tokens / min(times)


def distillation(run, recipe, device):
    load = lambda name: AutoModelForMaskedLM.from_pretrained(
        f"{run}/models/{name}", attn_implementation=recipe.attention).to(device)
    teacher, student = load("teacher").eval(), load("student").train()
    if recipe.fp16:
        teacher = teacher.half()
    tables, tokens = prepare(read_batches(f"{run}/bench/batch-*.safetensors"), recipe, recipe.slots[0],
                             student.config.max_position_embeddings, device)
    loss = (course_loss if recipe.course_loss else triple_loss)(teacher, student)
    return tokens_per_second(student, loss, recipe, tables, tokens, device)


def finetuning(run, folder, recipe, device):
    batches = read_batches(f"{run}/bench/task-*.safetensors")
    classes = max(2, 1 + max(int(sequence[2]) for batch in batches for sequence in batch))
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=classes, attn_implementation=recipe.attention).to(device).train()
    tables, tokens = prepare(batches, recipe, recipe.slots[1], model.config.max_position_embeddings, device)
    return tokens_per_second(model, class_loss(model), recipe, tables, tokens, device)


def one_by_one(judge, rows):
    """Seconds for all rows, one at a time; the better of two passes, of one if that takes long."""
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        for ids in rows:
            judge(ids)
        best = min(best, time.perf_counter() - began)
        if best > PATIENCE:
            break
    return best


@torch.no_grad()
def pytorch_pass(folder, rows, threads):
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    torch.set_num_threads(threads)
    seconds = one_by_one(lambda ids: model(input_ids=ids), rows)
    torch.set_num_threads(os.cpu_count())
    return seconds


class Logits(torch.nn.Module):
    """A model that gives its logits alone, for export."""
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(input_ids=ids).logits


@torch.no_grad()
def onnxruntime_pass(folder, rows, threads):
    model = Logits(AutoModelForSequenceClassification.from_pretrained(folder)).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as exported:
        torch.onnx.export(model, (rows[0],), f"{exported}/model.onnx", input_names=["ids"], output_names=["logits"],
                          dynamic_axes={"ids": {1: "tokens"}}, dynamo=False)
        session = onnxruntime.InferenceSession(f"{exported}/model.onnx", options, providers=["CPUExecutionProvider"])
    judge = lambda ids: session.run(None, {"ids": ids.numpy()})[0]
    for ids in (rows[0], max(rows, key=lambda row: row.shape[1])):  # what was exported is the model at any length
        torch.testing.assert_close(torch.from_numpy(judge(ids)), model(ids), rtol=1e-3, atol=1e-3)
    return one_by_one(judge, rows)


# The comparison ------------------------------------------------------------------------------------------------------

def attempt(what, measure):
    """What measure() gives; or, if it fails, nothing, and a word about it."""
    try:
        return measure()
    except Exception as error:  # of any kind: PyTorch, its compiler, the driver, a lack of memory
        print(f"{what} could not be timed: {str(error).strip().splitlines()[:1]}")
        return None
    finally:
        torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def one_round(arguments):
    """Speeds of trainer and another program, by program, recipe and step: tokens per second, or for the pass seconds."""
    for path in glob.glob(f"{arguments.run}/bench/*.safetensors"):
        os.remove(path)  # an earlier trainer may have left more of them
    subprocess.run(arguments.command, check=True, stdout=subprocess.DEVNULL)
    found = json.load(open(f"{arguments.run}/bench.json"))
    device = torch.device(arguments.device or ("cuda" if found["gpu"] == "yes" else "cpu"))
    names = arguments.recipes or (["course", "practice"] if device.type == "cuda" else ["usual"])
    speeds = {}
    for name in names:
        for step, measure in (("distillation", lambda r: distillation(arguments.run, r, device)),
                              ("finetuning", lambda r: finetuning(arguments.run, arguments.teacher, r, device))):
            began = time.perf_counter()
            value = attempt(f"PyTorch, {name} {step}", lambda: measure(RECIPES[name]))
            if value:
                ours = found[step]["tokens_per_second"]
                speeds["pytorch", name, step] = (ours, value)
                print(f"{name} {step}: trainer {ours:.0f}, PyTorch {value:.0f} tokens/s, "
                      f"after {time.perf_counter() - began:.0f} s with reading and compiling", flush=True)
    if arguments.no_pass:
        return speeds
    work = load_file(f"{arguments.run}/bench/pass.safetensors")
    rows = [ids.long()[None] for ids in work["ids"].split(work["lengths"].tolist())]
    programs = [("pytorch", pytorch_pass)] + ([("onnxruntime", onnxruntime_pass)] if onnxruntime else [])
    for model, folder in (("teacher", arguments.teacher), ("student", f"{arguments.run}/models/student")):
        for cores, threads in (("one_core", 1), ("all_cores", os.cpu_count())):
            ours = found["models"][model][f"seconds_{cores}"]
            for program, measure in programs:
                value = attempt(f"{program}, {model}", lambda: measure(folder, rows, threads))
                if value:
                    speeds[program, f"pass_{cores}", model] = (ours, value)
    return speeds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", required=True)
    parser.add_argument("--teacher", required=True, help="the folder that bench has as --model")
    parser.add_argument("--device", help="cpu or cuda; by default the trainer's")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES))
    parser.add_argument("--no-pass", action="store_true", help="time PyTorch's steps alone, not its pass over a dev set")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    rounds = [one_round(arguments) for _ in range(arguments.rounds)]
    found = json.load(open(f"{arguments.run}/bench.json"))
    found["pytorch"] = {"version": torch.__version__, "rounds": arguments.rounds}
    if onnxruntime:
        found["onnxruntime"] = {"version": onnxruntime.__version__, "rounds": arguments.rounds}
    for key in rounds[0]:
        program, recipe, what = key
        pairs = [speeds[key] for speeds in rounds if key in speeds]
        ours, theirs = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        ratio = theirs / ours if recipe.startswith("pass") else ours / theirs
        found[program].setdefault(recipe, {})[what] = {"trainer": ours, program: theirs, "speed_ratio": ratio}
        print(f"{recipe:20} {what:12}  trainer {ours:12.3f}  {program} {theirs:12.3f}  {ratio:.2f} times its speed")
    # sealed, as the trainer seals it (chapter "Stages and their records"): the sum is that of the text with zeros there
    found["sum"] = "0" * 64
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    mark = '\n  "sum": "'
    with open(f"{arguments.run}/bench.json.partial", "w") as stream:
        stream.write(text.replace(mark + "0" * 64, mark + hashlib.sha256(text.encode()).hexdigest()))
    os.rename(f"{arguments.run}/bench.json.partial", f"{arguments.run}/bench.json")


if __name__ == "__main__":
    main()

"""Writes tests/fixtures/parity with PyTorch and transformers, in double precision (run from the repository's root):

    python tests/reference/parity.py fixtures

The models are those of tests/reference/model.py. tests/parity.c holds the program against these files; `make test`
needs neither Python nor this script. With a model folder of real weights,

    python tests/reference/parity.py inspect DIR IDS OUT.safetensors

holds OUT, which `distil inspect --model DIR --ids IDS --out OUT.safetensors` wrote, against transformers, and

    python tests/reference/parity.py base TEACHER STUDENT build/distil DEVICE

holds the program on a device against PyTorch in double precision: hidden states and logits of the teacher, the triple
loss and its gradient by every parameter of the student, each as a vector, relative to its length."""

import os
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import (AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering,
                          AutoModelForSequenceClassification)

MODELS, OUT = "tests/fixtures", "tests/fixtures/parity"
NONE = -100


def load(kind, name):
    return kind.from_pretrained(f"{MODELS}/{name}", dtype=torch.float64).eval()


def save(name, tensors):
    tensors = {k: (v.float() if v.is_floating_point() else v.int()).contiguous() for k, v in tensors.items()}
    save_file(tensors, f"{OUT}/{name}.safetensors")


def relative(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


# Batches ----------------------------------------------------------------------------------------------------------


def random_batch(generator, lengths, vocabulary):
    """Sequences [CLS]=2 ... [SEP]=3 of random pieces, a third of them with a label, as (ids, labels) lists."""
    batch = []
    for length in lengths:
        ids = torch.randint(5, vocabulary, (length,), generator=generator)
        ids[0], ids[-1] = 2, 3
        chosen = torch.rand(length, generator=generator) < 0.33
        chosen[0] = chosen[-1] = False
        labels = torch.where(chosen, ids, NONE)
        ids = torch.where(chosen & (torch.rand(length, generator=generator) < 0.8), 4, ids)
        batch.append((ids, labels))
    return batch


def padded(batch, slots=None):
    """Tensors [sequences, slots]: ids, mask, labels."""
    slots = slots or max(len(ids) for ids, _ in batch)
    grow = lambda row, value: F.pad(row, (0, slots - len(row)), value=value)
    ids = torch.stack([grow(ids, 0) for ids, _ in batch])
    mask = torch.stack([grow(torch.ones_like(ids), 0) for ids, _ in batch])
    labels = torch.stack([grow(labels, NONE) for _, labels in batch])
    return ids, mask, labels


def packed(batch):
    return {"ids": torch.cat([ids for ids, _ in batch]), "labels": torch.cat([labels for _, labels in batch]),
            "lengths": torch.tensor([len(ids) for ids, _ in batch])}


# The losses, as the paper and the course project write them ---------------------------------------------------------


def losses(teacher, student, batch, slots, temperature=2.0, course=False):
    ids, mask, labels = padded(batch, slots)
    with torch.no_grad():
        t = teacher(ids, attention_mask=mask, output_hidden_states=True)
    s = student(ids, attention_mask=mask, output_hidden_states=True)
    mlm = F.cross_entropy(s.logits.flatten(0, 1), labels.flatten(), ignore_index=NONE)
    divergence = F.kl_div(F.log_softmax(s.logits / temperature, -1), F.softmax(t.logits / temperature, -1),
                          reduction="none").sum(-1)
    relations = relation_loss(teacher, student, t, s, mask)
    angle = lambda a, b: 1 - F.cosine_similarity(a, b, -1)
    if course:
        kl = divergence.sum() / len(batch) * temperature ** 2
        step = (len(t.hidden_states) - 1) // (len(s.hidden_states) - 1)
        pairs = [(i + 1, i * step + 1) for i in range(len(s.hidden_states) - 1)]
        cosine = sum(angle(s.hidden_states[i], t.hidden_states[j]).mean() for i, j in pairs) / len(pairs)
    else:
        shown = mask.bool()
        kl = divergence[shown].mean() * temperature ** 2
        cosine = angle(s.hidden_states[-1], t.hidden_states[-1])[shown].mean()
    return mlm, kl, cosine, relations


def relation_rows(model, out, heads):
    """The last layer's queries, keys and values [3, sequences, heads, slots, depth]."""
    encoder = getattr(model, "bert", None)
    if encoder:
        attention = encoder.encoder.layer[-1].attention.self
        maps = attention.query, attention.key, attention.value
    else:
        attention = model.distilbert.transformer.layer[-1].attention
        maps = attention.q_lin, attention.k_lin, attention.v_lin
    return torch.stack([m(out.hidden_states[-2]).unflatten(-1, (heads, -1)).transpose(1, 2) for m in maps])


def relation_loss(teacher, student, t, s, mask, heads=8):
    """The loss of MiniLMv2; a mean over the tokens of all sequences that are not padding."""
    logs = []
    for model, out in (teacher, t), (student, s):
        x = relation_rows(model, out, heads)
        scores = x @ x.transpose(-1, -2) / x.shape[-1] ** 0.5
        logs.append(F.log_softmax(scores.masked_fill(mask[:, None, None] == 0, -torch.inf), -1))
    both = (mask[:, :, None] * mask[:, None, :])[:, None].bool()
    divergence = (logs[0].exp() * (logs[0] - logs[1]).masked_fill(~both, 0)).sum()
    return divergence / heads / mask.sum()


WEIGHTS = {"mlm": (1, 0, 0, 0), "kl": (0, 1, 0, 0), "cosine": (0, 0, 1, 0), "relations": (0, 0, 0, 1),
           "triple": (2, 5, 1, 0), "course": (0.5, 0.5, 1, 0)}


def total(name, terms):
    return sum(weight * term for weight, term in zip(WEIGHTS[name], terms))


def gradients(model):
    result = {}
    for name, p in model.named_parameters():
        result[name] = torch.zeros_like(p) if p.grad is None else p.grad
    return result


def write_gradients(file, name, teacher, student, batch, slots):
    student.zero_grad()
    terms = losses(teacher, student, batch, slots, course=name == "course")
    loss = total(name, terms)
    loss.backward()
    # the program measures the guesses at masked words in any case, the other terms only if they have a weight
    kl, cosine, relations = (term.detach() if weight else torch.zeros(())
                             for weight, term in zip(WEIGHTS[name][1:], terms[1:]))
    save(file, {"loss.mlm": terms[0].detach(), "loss.kl": kl, "loss.cosine": cosine, "loss.total": loss.detach(),
                **({"loss.relations": relations} if WEIGHTS[name][3] else {}), **gradients(student)})


# Fixtures -----------------------------------------------------------------------------------------------------------


def logits_of(out):
    return out.logits if "logits" in out else torch.stack([out.start_logits, out.end_logits], -1)


def write_forward(generator, names):
    for name in names:
        kind = (AutoModelForSequenceClassification if name.endswith("classifier") else
                AutoModelForQuestionAnswering if name.endswith("span") else AutoModelForMaskedLM)
        model, lines, parts = load(kind, name), [], []
        types, positions = model.config.model_type == "bert", model.config.max_position_embeddings
        for length in (7, 1, positions, 2, 9):
            ids = torch.randint(1, model.config.vocab_size, (length,), generator=generator)
            first = length // 2 if types and length > 2 else length
            words = [str(i) for i in ids.tolist()]
            lines.append(" ".join(words[:first] + ["|"] * (first < length) + words[first:]))
            extra = {"token_type_ids": (torch.arange(length) >= first).long()[None]} if types else {}
            with torch.no_grad():
                parts.append(model(ids[None], output_hidden_states=True, **extra))
        result = {f"hidden.{i}": torch.cat([part.hidden_states[i][0] for part in parts])
                  for i in range(len(parts[0].hidden_states))}
        result["logits"] = torch.cat([logits_of(part).flatten(0, -2) for part in parts])
        save(f"forward-{name}", result)
        with open(f"{OUT}/forward-{name}.ids", "w") as out:
            out.writelines(line + "\n" for line in lines)


def write_distillation(generator):
    teacher, student = load(AutoModelForMaskedLM, "bert-tiny"), load(AutoModelForMaskedLM, "distilbert-tiny")
    batch, slots = random_batch(generator, (9, 17, 3, 40, 12), 97), 40
    save("batch-packed", packed(batch))
    ids, mask, labels = padded(batch, slots)
    save("batch-padded", {"ids": ids, "lengths": mask.sum(1), "labels": labels})
    for name in WEIGHTS:
        write_gradients(f"gradients-{name}", name, teacher, student, batch, slots)
    # other families and decoders as students; the sequences fit their twelve positions
    batch = random_batch(generator, (5, 12, 8), 37)
    save("batch-small", packed(batch))
    write_gradients("gradients-bert", "triple", load(AutoModelForMaskedLM, "bert-untied"),
                    load(AutoModelForMaskedLM, "bert-plain"), batch, None)
    write_gradients("gradients-untied", "triple", load(AutoModelForMaskedLM, "bert-plain"),
                    load(AutoModelForMaskedLM, "distilbert-untied"), batch, None)


def write_classification(generator):
    for name in ("bert-classifier", "distilbert-classifier"):
        model = load(AutoModelForSequenceClassification, name)
        lengths = (4, 12, 7)
        batch = random_batch(generator, lengths, 37)
        ids, mask, _ = padded(batch)
        classes = torch.tensor([1, 0, 1])
        segments = torch.zeros_like(ids)
        extra = {}
        if model.config.model_type == "bert":
            for row, length in enumerate(lengths):
                segments[row, length // 2:length] = 1
            extra["token_type_ids"] = segments
        out = model(ids, attention_mask=mask, labels=classes, **extra)
        out.loss.backward()
        shown = mask.bool()
        save(f"classify-{name}", {"ids": ids[shown], "segments": segments[shown], "lengths": mask.sum(1),
                                  "classes": classes, "logits": out.logits.detach(), "loss": out.loss.detach(),
                                  **gradients(model)})


def write_numbers_and_spans(generator):
    for name, kind in (("bert-number", AutoModelForSequenceClassification),
                       ("bert-span", AutoModelForQuestionAnswering), ("distilbert-span", AutoModelForQuestionAnswering)):
        model, lengths = load(kind, name), (4, 12, 7)
        batch = random_batch(generator, lengths, 37)
        ids, mask, _ = padded(batch)
        shown = mask.bool()
        segments, extra = torch.zeros_like(ids), {}
        if model.config.model_type == "bert":
            for row, length in enumerate(lengths):
                segments[row, length // 2:length] = 1
            extra["token_type_ids"] = segments
        out = model(ids, attention_mask=mask, **extra)
        if name.endswith("number"):
            answers = {"numbers": torch.tensor([3.8, 0.0, 2.25], dtype=torch.float64)}
            logits = out.logits
            loss = F.mse_loss(logits[:, 0], answers["numbers"])
        else:
            answers = {"spans": torch.tensor([[1, 1], [3, 11], [0, 0]])}
            logits = logits_of(out)
            # transformers lets the padding take part in the softmax; without padding there is none
            visible = logits.masked_fill(~shown[..., None], -torch.inf)
            loss = sum(F.cross_entropy(visible[..., i], answers["spans"][:, i]) for i in range(2)) / 2
            logits = logits[shown]
        loss.backward()
        save(f"answer-{name}", {"ids": ids[shown], "segments": segments[shown], "lengths": mask.sum(1), **answers,
                                "logits": logits.detach(), "loss": loss.detach(), **gradients(model)})


def write_steps(generator):
    """Ten steps of AdamW, two batches each, with warm-up, linear decay, clipping and weight decay."""
    teacher, student = load(AutoModelForMaskedLM, "bert-tiny"), load(AutoModelForMaskedLM, "distilbert-tiny")
    plain = [p for p in student.parameters() if p.dim() == 1]
    decayed = [p for p in student.parameters() if p.dim() > 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
                                  lr=3e-3, betas=(0.9, 0.98), eps=1e-6)
    steps, warm = 10, 3
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: (t + 1) / warm if t < warm else (steps - t) / (steps - warm))
    ids, labels, lengths, values, norms = [], [], [], [], []
    for _ in range(steps):
        for _ in range(2):
            batch = random_batch(generator, torch.randint(4, 20, (4,), generator=generator).tolist(), 97)
            terms = losses(teacher, student, batch, None)
            loss = total("triple", terms)
            (loss / 2).backward()
            values.append(loss.item())
            part = packed(batch)
            ids.append(part["ids"])
            labels.append(part["labels"])
            lengths.append(part["lengths"])
        norms.append(torch.nn.utils.clip_grad_norm_(student.parameters(), 10.0).item())
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    print("losses", values[0], "to", values[-1], "norms", norms)
    save("steps", {"ids": torch.cat(ids), "labels": torch.cat(labels), "lengths": torch.cat(lengths),
                   "losses": torch.tensor(values), "norms": torch.tensor(norms)})


def fixtures():
    os.makedirs(OUT, exist_ok=True)
    generator = torch.Generator().manual_seed(7)
    write_forward(generator, ("bert-tiny", "distilbert-tiny", "bert-classifier", "distilbert-classifier"))
    write_distillation(generator)
    write_classification(generator)
    write_steps(generator)
    write_numbers_and_spans(generator)
    write_forward(generator, ("bert-span",))


# Real weights -------------------------------------------------------------------------------------------------------


def inspect(folder, ids_path, out_path):
    model = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    ours, states = load_file(out_path), []
    for line in open(ids_path):
        first, _, second = line.partition("|")
        a, b = [int(i) for i in first.split()], [int(i) for i in second.split()]
        with torch.no_grad():
            states.append(model(torch.tensor([a + b]), token_type_ids=torch.tensor([[0] * len(a) + [1] * len(b)]),
                                output_hidden_states=True).hidden_states)
    for layer in range(len(states[0])):
        exact = torch.cat([s[layer][0] for s in states])
        print(f"hidden.{layer}: {exact.shape[0]} tokens, relative error {relative(ours[f'hidden.{layer}'], exact):.1e}")


def base(teacher_folder, student_folder, distil, name):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher, student = (AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float64).eval().to(device)
                        for folder in (teacher_folder, student_folder))
    lengths = (128, 17, 64, 3, 90, 1, 33, 128)
    batch = random_batch(torch.Generator().manual_seed(11), [max(2, n) for n in lengths], teacher.config.vocab_size)
    batch = [(ids.to(device), labels.to(device)) for ids, labels in batch]
    # floor: what is smaller counts as so large; the bias of the keys has a gradient of zero but for rounding
    off = lambda a, b, floor=0.0: ((a.double().to(device) - b).norm() / max(b.norm().item(), floor)).item()
    worst = {}

    def note(kind, what, error):
        if not error <= worst.get(kind, ("", -1.0))[1]:
            worst[kind] = (what, error)

    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/ids", "w") as out:
            out.writelines(" ".join(map(str, ids.tolist())) + "\n" for ids, _ in batch)
        save_file({k: v.int().cpu() for k, v in packed(batch).items()}, f"{work}/batch.safetensors")
        subprocess.run([distil, "inspect", "--model", teacher_folder, "--ids", f"{work}/ids", "--out", f"{work}/states",
                        "--device", name], check=True)
        subprocess.run([distil, "gradients", "--teacher", teacher_folder, "--student", student_folder, "--batch",
                        f"{work}/batch.safetensors", "--out", f"{work}/gradients", "--device", name], check=True)
        states, found = load_file(f"{work}/states"), load_file(f"{work}/gradients")
    ids, mask, _ = padded(batch)
    with torch.no_grad():
        out = teacher(ids, attention_mask=mask, output_hidden_states=True)
    for i, exact in enumerate(out.hidden_states):
        note("hidden states", f"hidden.{i}", off(states[f"hidden.{i}"], exact[mask.bool()]))
    note("logits", "logits", off(states["logits"], out.logits[mask.bool()]))
    terms = losses(teacher, student, batch, None)
    total("triple", terms).backward()
    for term, exact in zip(("mlm", "kl", "cosine"), terms):
        note("losses", term, abs(found[f"loss.{term}"].item() - exact.item()) / exact.item())
    exactly = gradients(student)
    floor = 0.01 * torch.stack([exact.norm() for exact in exactly.values()]).square().mean().sqrt().item()
    for what, exact in exactly.items():
        error = off(found[what], exact, floor)
        print(f"{what:60} {error:.1e} of {exact.norm().item():.1e}")
        note("gradients", what, error)
    for kind, (what, error) in worst.items():
        print(f"{name}, {kind}: at most {error:.1e} ({what})")
    limit = 2e-2 if name == "cuda" else 1e-4
    assert all(error <= limit for _, error in worst.values()), f"more than {limit}"


if __name__ == "__main__":
    {"fixtures": fixtures, "inspect": inspect, "base": base}[sys.argv[1]](*sys.argv[2:])

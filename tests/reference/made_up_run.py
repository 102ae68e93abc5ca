"""Writes tests/fixtures/run: a finished run that never happened, to test the way from a run to the report.
Every number in it is made up. python3 tests/reference/made_up_run.py (needs nothing but Python)."""
import json, math, os, random, shutil

random.seed(4)
root = os.path.join(os.path.dirname(__file__), "..", "fixtures", "run")
shutil.rmtree(root, ignore_errors=True)
TASKS = {"cola": 60, "mrpc": 48, "imdb": 80}
MODELS = {  # model: share of right answers, masked-token accuracy at the end
    "teacher": (0.92, 0.61), "student": (0.86, 0.55), "student-no-kl": (0.79, 0.50), "student-alone": (0.74, 0.41)}
SEEDS = [1, 2, 3]
SETTINGS = {
    "run": {"seed": 1}, "corpus": {"length": 48, "train": "a-corpus-with-a-rather-long-name.txt"},
    "distill": {"layers": "0 2", "mlm": 2, "kl": 5, "cosine": 1, "temperature": 2, "epochs": 3, "batch": 32,
                "rate": "1e-3", "schedule": "linear", "warmup": 0.05, "clip": 5, "decay": 0,
                "kl-positions": "real", "kl-divisor": "tokens", "cosine-positions": "real", "cosine-layers": "last"},
    "finetune": {"length": 64, "epochs": 3, "batch": 16, "rate": "3e-4", "schedule": "linear", "decay": 0.01}}


def write(path, text):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def stage(label, seconds, steps, tokens, parameters, cuts=(), **more):
    kind = label.split("-")[0]
    settings = {f"{section}.{key}": str(value) for section in ("run", "corpus", kind)
                for key, value in SETTINGS.get(section, {}).items()}
    record = {"stage": label, "key": "0" * 16, "device": "Difference Engine No. 2, 1 crank", "threads": 1,
              "finished": "1849-01-01", "seconds": seconds, "steps": steps, "tokens": tokens,
              "parameters": parameters, "cuts": list(cuts), "settings": settings,
              "data": {f"{kind}.txt": "ab" * 32}, **more}
    write(f"stages/{label}.json", json.dumps(record, indent=1) + "\n")


def curves(name, accuracy):
    start = 0.02 if "alone" in name else 0.3
    rows = [(s, 8 - 6 * s / 240, start + (accuracy - start) * (1 - math.exp(-s / 60))) for s in range(0, 241, 40)]
    write(f"curves/distill-{name}-validation.tsv",
          "step\tmlm\taccuracy\n" + "".join(f"{s}\t{m:.4f}\t{a:.4f}\n" for s, m, a in rows))
    lines = ["step\ttokens\tloss\tmlm\tkl\tcosine\taccuracy\trate\ttokens_per_second"]
    for s in range(1, 241):
        mlm, kl, cosine = 2 + 5 * math.exp(-s / 50), 0.4 + 3 * math.exp(-s / 40), 0.1 + 0.6 * math.exp(-s / 30)
        noise = random.uniform(0.95, 1.05)
        lines.append(f"{s}\t{s * 500}\t{(mlm + kl + cosine) * noise:.4f}\t{mlm * noise:.4f}\t{kl * noise:.4f}\t"
                     f"{cosine * noise:.4f}\t{accuracy * (1 - math.exp(-s / 60)):.4f}\t0.0005\t170")
    if name == "student":
        write("curves/distill-student.tsv", "\n".join(lines) + "\n")


write("made-up.settings", "# The settings of a run that never happened.\n[run]\ndata = toyland\n\n[distill]\nlayers = 0 2\n\n[finetune]\n"
      f"tasks = {' '.join(TASKS)}\nmodels = {' '.join(MODELS)}\nseeds = {' '.join(map(str, SEEDS))}\n")
stage("teacher", 4000.0, 900, 400000, 1100000, ["made-up corpus train: the first 400,000 of 1,000,000 tokens"],
      beginning="from scratch")
for name, (_, accuracy) in MODELS.items():
    if name != "teacher":
        stage(f"distill-{name}", 700.0, 240, 120000, 600000, teacher_accuracy=MODELS["teacher"][1])
        curves(name, accuracy)

for task, count in TASKS.items():
    labels = [1 if random.random() < 0.6 else 0 for _ in range(count)]
    hard = [random.random() for _ in range(count)]
    for model, (right, _) in MODELS.items():
        if task == "imdb" and model not in ("teacher", "student"):
            continue
        for seed in SEEDS:
            lines = ["index\tlabel\tprediction\tscore"]
            for i, label in enumerate(labels):
                wrong = hard[i] + random.gauss(0, 0.05) > right
                prediction = 1 - label if wrong else label
                lines.append(f"{i}\t{label}\t{prediction}\t{0.9 if prediction else 0.1}")
            write(f"predictions/{task}-{model}-{seed}.tsv", "\n".join(lines) + "\n")
            if task != "mrpc":
                cuts = ["IMDb test: 80 of 25,000 rows"] if task == "imdb" else []
                parameters = 1050000 if model == "teacher" else 550000
                stage(f"finetune-{task}-{model}-{seed}", 30.0, 100, 20000, parameters, cuts)

# What other settings ask for: the rest of GLUE, and SQuAD, of teacher and student, one seed each.
OTHERS = {"rte": 2, "stsb": 1, "wnli": 2, "sst2": 2, "qnli": 2, "qqp": 2, "mnli": 3, "mnlimm": 3, "squad": 0}
for task, classes in OTHERS.items():
    labels = [random.randrange(classes) if classes > 1 else random.uniform(0, 5) for _ in range(24)]
    for model in ("teacher", "student"):
        right = MODELS[model][0]
        lines = ["index\tid\tf1\texact\tscore\tprediction" if task == "squad" else "index\tlabel\tprediction\tscore"]
        for i, label in enumerate(labels):
            missed = random.random() > right
            if task == "squad":
                lines.append(f"{i}\tq{i}\t{0.5 if missed else 1}\t{0 if missed else 1}\t3.5\tan answer")
            elif task == "stsb":
                guess = label + random.gauss(0, 1 - right + 0.3)
                lines.append(f"{i}\t{label:.3f}\t{guess:.4f}\t{guess:.4f}")
            else:
                lines.append(f"{i}\t{label}\t{(label + missed) % classes}\t0.5")
        write(f"predictions/{task}-{model}-1.tsv", "\n".join(lines) + "\n")
write("made-up-full.settings", "# The same run, asked for more tasks of fewer models.\n[run]\ndata = real\n\n"
      "[distill]\nlayers = 0 2\n\n[finetune]\n"
      f"tasks = {' '.join([*TASKS, *OTHERS]).replace(' mnlimm', '')}\nmodels = teacher student\nseeds = 1\n")

common = {"vocab_size": 328, "max_position_embeddings": 64}
write("models/teacher/config.json", json.dumps({
    "model_type": "bert", "num_hidden_layers": 4, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512,
    "type_vocab_size": 2, "hidden_act": "gelu", **common}, indent=1) + "\n")
write("models/student/config.json", json.dumps({
    "model_type": "distilbert", "n_layers": 2, "dim": 128, "n_heads": 4, "hidden_dim": 512, "activation": "gelu",
    **common}, indent=1) + "\n")
write("bench.json", json.dumps({"device": "Difference Engine No. 2, 1 crank", "threads": 1, "pass": {
    "title": "toy MRPC", "rows": 48, "tokens": 900}, "models": {
    "teacher": {"parameters": 1100000, "seconds_one_core": 12.5, "parts_one_core": [6.5, 6.0], "seconds_all_cores": 8.25},
    "student": {"parameters": 600000, "seconds_one_core": 6.5, "parts_one_core": [3.5, 3.0], "seconds_all_cores": 4.5}},
    "distillation": {"tokens_per_second": 170.0}}, indent=1) + "\n")
write("checks.tsv", "cosine.error\t1.2e-9\ncosine.cases\t100\n")

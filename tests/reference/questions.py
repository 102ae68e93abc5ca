"""Writes tests/fixtures/squad with transformers' tokenizer (run from the repository's root; the tests need no Python):

    python tests/reference/questions.py

dev-v1.1.json  made-up questions in SQuAD's format: accents, Chinese, emoji, answers in the midst of a word and at
               both ends, several answers, contexts that need several windows, a question that is too long
windows.txt    for each length and stride, for each window: "length stride question first last" (tokens of the answer)
               and the window's ids
answers.tsv    for each length, stride and round of made-up logits, for each question: the answer, by the algorithm of
               transformers' run_qa.py

python tests/reference/questions.py compare VOCAB FILE LENGTH STRIDE   prints a digest of the windows of a real file
"""
import hashlib
import json
import sys

from transformers import BertTokenizer

OUT = "tests/fixtures/squad/"
SETTINGS = [(40, 16), (30, 9), (128, 64), (24, 100)]
LONGEST_QUESTION, BEST, LONGEST_ANSWER = 64, 20, 30
TEXT = """The harbour lay still in the early light, and the fishermen were mending their nets beside the old wall. Nobody
had seen the grey boat come in. It was tied to the last of the iron rings, its sail folded, its oars laid crosswise, as
if whoever had rowed it meant to return within the hour. The children counted eleven barrels, three coils of rope and a
lantern that was still burning. By noon the whole town had an opinion about the boat. The baker said smugglers, the
teacher said explorers, and the lighthouse keeper, who had watched the water every night for thirty years, said nothing
at all.

Measurements, she wrote that evening, are promises: one keeps them or one does not. A thin woman in a blue coat paid the
boy with a silver coin. She drew a round roof and a long tube in the sand, and he laughed and pointed up the hill, where
the grass was high and the goats slept.  It was wrapped in oilcloth

Zoë ate an Éclair, or e\u0301clair, in the naïve café for $5.00; the tower of 中文 stood there in 1914–18. On the table:
👩‍👩‍👧‍👦 and 한국어.

It ticked."""


def question(number, text, context, answers):
    """answers: texts, or pairs of a text and which of its occurrences; only the first must stand in the context."""
    found = []
    for answer in answers:
        answer, nth = answer if isinstance(answer, tuple) else (answer, 0)
        at = -1
        for _ in range(nth + 1):
            at = context.find(answer, at + 1)
        assert at >= 0 or found, answer
        found.append({"text": answer, "answer_start": max(at, 0)})
    return {"id": f"q{number:03}", "question": text, "answers": found}


def made_up():
    harbour, tower, mixed, short = TEXT.split("\n\n")
    asked = [
        (harbour, [("Where were the fishermen?", ["beside the old wall", "the old wall"]),
                   ("Who said nothing?", ["the lighthouse keeper", "keeper", "The lighthouse keeper"]),
                   ("How many barrels did they count?", ["eleven"]), ("What lay still?", ["The harbour"]),
                   ("What did the keeper say?", ["nothing\nat all."]), ("Which boat?", [("boat", 1)]),
                   ("boat " * 70, ["iron rings"]), ("Who was mending?", ["men"])]),
        (tower, [("What did he point at?", ["the hill"]), ("", ["sand"]), ("Which coin?", ["silver", "a silver coin"]),
                 ("What are promises?", ["Measurements"]), ("What of it?", ["It was wrapped in oilcloth"])]),
        (mixed, [("Who ate in the café?", ["Zoë"]), ("Where is the tower?", ["中文"]), ("Which one?", ["文"]),
                 ("What was on the table?", ["👩‍👩‍👧‍👦", "👩"]), ("How is it spelt?", ["e\u0301clair"]),
                 ("And the rest?", ["clair"]), ("How much?", ["$5.00", "5"]), ("Which years?", ["1914–18"]),
                 ("Korean?", ["한국어"])]),
        (short, [("What?", ["It"]), ("[MASK] [SEP]?", ["ticked"])]),
    ]
    paragraphs, number = [], 0
    for context, questions in asked:
        qas = []
        for text, answers in questions:
            qas.append(question(number, text, context, answers))
            number += 1
        paragraphs.append({"context": context, "qas": qas})
    articles = [{"title": "One", "paragraphs": paragraphs[:2]}, {"title": "None", "paragraphs": []},
                {"title": "Two", "paragraphs": paragraphs[2:]}]
    return {"version": "1.1", "data": articles}


def each(data):
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield paragraph["context"], qa


def windows(tokenizer, context, qa, length, stride):
    """ids, first token of the context, its offsets, and the answer's tokens, as in prepare_train_features of run_qa.py."""
    q = tokenizer(qa["question"], add_special_tokens=False)["input_ids"][:LONGEST_QUESTION]
    c = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets, room, first = c["input_ids"], c["offset_mapping"], length - len(q) - 3, 0
    answer = qa["answers"][0]
    start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    while True:
        part, places = ids[first:first + room], offsets[first:first + room]
        before = len(q) + 2
        span = (0, 0)
        if places and places[0][0] <= start and places[-1][1] >= end:
            a, b = 0, len(places) - 1
            while a < len(places) and places[a][0] <= start:
                a += 1
            while b >= 0 and places[b][1] >= end:
                b -= 1
            span = (before + a - 1, before + b + 1)
        yield [2] + q + [3] + part + [3], before, places, span
        if first + room >= len(ids):
            return
        first += min(stride, room)


def check_windows(tokenizer, context, qa, length, stride):
    """The same windows by the tokenizer itself, whose stride is the overlap."""
    q = tokenizer(qa["question"], add_special_tokens=False)["input_ids"]
    room = length - len(q) - 3
    if len(q) > LONGEST_QUESTION or room < 1 or not q:
        return
    coded = tokenizer(qa["question"], context, truncation="only_second", max_length=length,
                      stride=room - min(stride, room), return_overflowing_tokens=True)
    assert [w for w, *_ in windows(tokenizer, context, qa, length, stride)] == coded["input_ids"], qa["question"]


def logit(token, column, window, turn):
    """Made-up logits, no two of a window and column alike; tests/questions.c has the same."""
    return float((token * 7919 + column * 104729 + window * 1299709 + turn * 611953) % 32003 - 16000)


def best_answer(tokenizer, context, qa, length, stride, number, turn):
    """number: of the first window among all. Returns the text and the number of windows."""
    best, text, count = None, "", 0
    for ids, before, places, _ in windows(tokenizer, context, qa, length, stride):
        score = [[logit(t, column, number + count, turn) for t in range(len(ids))] for column in (0, 1)]
        order = [sorted(range(len(ids)), key=lambda t: -score[column][t])[:BEST] for column in (0, 1)]
        for a in order[0]:
            for b in order[1]:
                if a < before or b < before or a - before >= len(places) or b - before >= len(places):
                    continue
                if b < a or b - a + 1 > LONGEST_ANSWER:
                    continue
                if best is None or score[0][a] + score[1][b] > best:
                    best = score[0][a] + score[1][b]
                    text = context[places[a - before][0]:places[b - before][1]]
        count += 1
    return text, count


def fixtures():
    tokenizer = BertTokenizer(vocab="tests/fixtures/tokenizer/vocab.txt")
    data = made_up()
    with open(OUT + "dev-v1.1.json", "w") as out:
        json.dump(data, out, indent=1)  # with \\u escapes, among them surrogate pairs
        out.write("\n")
    with open(OUT + "windows.txt", "w") as lines, open(OUT + "answers.tsv", "w") as answers:
        for length, stride in SETTINGS:
            usable = [(context, qa) for context, qa in each(data) if length >= 72 or len(qa["question"]) < 60]
            number = 0
            for place, (context, qa) in enumerate(usable):
                check_windows(tokenizer, context, qa, length, stride)
                for ids, _, _, span in windows(tokenizer, context, qa, length, stride):
                    print(length, stride, place, *span, *ids, file=lines)
            for turn in range(3):
                number = 0
                for place, (context, qa) in enumerate(usable):
                    text, count = best_answer(tokenizer, context, qa, length, stride, number, turn)
                    number += count
                    print(length, stride, turn, qa["id"], text.replace("\n", " "), sep="\t", file=answers)


def compare(vocab, path, length, stride):
    tokenizer, hashed, count, found = BertTokenizer(vocab=vocab), hashlib.sha256(), 0, 0
    with open(path) as file:
        for context, qa in each(json.load(file)):
            for ids, _, _, span in windows(tokenizer, context, qa, int(length), int(stride)):
                hashed.update((" ".join(map(str, [*span, *ids])) + "\n").encode())
                count += 1
                found += span != (0, 0)
    print(f"{count} windows, {found} with an answer, {hashed.hexdigest()}")


if __name__ == "__main__":
    compare(*sys.argv[2:]) if len(sys.argv) > 1 else fixtures()

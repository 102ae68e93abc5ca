"""Writes tests/fixtures/metrics.tsv and tests/fixtures/texts.tsv: made-up predictions with other people's scores.

python tests/reference/metrics.py    (needs scikit-learn and scipy; not needed to run the tests)
metrics.tsv: "classes", labels, predictions (strings of 0 and 1), accuracy, F1 of class 1 and Matthews' correlation
by scikit-learn; or "numbers", labels, predictions (numbers, commas between them), Pearson's and Spearman's correlation
by scipy, 0 where scipy has no value.
texts.tsv: prediction, number of answers, answers, exact match, F1, by SQuAD's rules. \\n, \\t and \\\\ stand for line
feed, tab and backslash.
"""
import collections
import math
import random
import re
import string
import warnings

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

warnings.simplefilter("ignore")  # scikit-learn warns where it answers 0, scipy where it answers NaN
random.seed(20)

cases = []
for n in (1, 2, 5, 40):
    for labels in ("0" * n, "1" * n, "01" * (n // 2) + "0" * (n % 2)):
        inverted = labels.translate(str.maketrans("01", "10"))
        for predictions in (labels, inverted, "0" * n, "1" * n):
            cases.append((labels, predictions))
for share in (0.05, 0.3, 0.5, 0.7, 0.95):
    for agreement in (0.1, 0.5, 0.8, 0.97):
        for n in (7, 100, 1043):
            labels = [random.random() < share for _ in range(n)]
            predictions = [label if random.random() < agreement else not label for label in labels]
            cases.append(tuple("".join("01"[x] for x in column) for column in (labels, predictions)))

numbers = [([2.5], [1.0]), ([1, 2], [3, 5]), ([1, 2], [5, 3]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0.1, 0.1, 0.1]),
           ([0, 0, 1], [0.7, 0.7, 0.7]), ([1, 2, 3, 4], [1e6, 1e6 + 1, 1e6 + 2, 1e6 + 4])]
for n in (3, 10, 60):
    for noise in (0, 0.5, 2, 50):
        labels = [random.randint(0, 25) / 5 for _ in range(n)]  # with ties
        for digits in (0, 1, 6):
            for sign in (1, -1):
                numbers.append((labels, [round(sign * x + random.gauss(0, noise), digits) for x in labels]))


def correlation(function, x, y):
    value = function(x, y)[0] if len(x) > 1 else math.nan
    return 0.0 if math.isnan(value) else float(value)


with open("tests/fixtures/metrics.tsv", "w") as out:
    for labels, predictions in cases:
        y, p = [int(c) for c in labels], [int(c) for c in predictions]
        scores = accuracy_score(y, p), f1_score(y, p), matthews_corrcoef(y, p)
        print("classes", labels, predictions, *(repr(float(s)) for s in scores), sep="\t", file=out)
    for labels, predictions in numbers:
        scores = correlation(pearsonr, labels, predictions), correlation(spearmanr, labels, predictions)
        columns = (",".join(repr(float(x)) for x in column) for column in (labels, predictions))
        print("numbers", *columns, *(repr(s) for s in scores), sep="\t", file=out)


# The rules of SQuAD 1.1's official evaluation (Rajpurkar et al. 2016), written down again ---------------------------


def normal(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def f1(prediction, answer):
    p, g = normal(prediction).split(), normal(answer).split()
    common = sum((collections.Counter(p) & collections.Counter(g)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(p), common / len(g)
    return 2 * precision * recall / (precision + recall)


def score(prediction, answers):
    return (max(float(normal(prediction) == normal(a)) for a in answers), max(f1(prediction, a) for a in answers))


TEXTS = [
    "1889", "in 1889", "the year 1889", "The Eiffel Tower", "Eiffel tower", "eiffel  tower.", "a", "an", "the", "A THE an",
    "", " ", ".", "...", "the.", "t.h.e", "t-h-e cat", "the-cat", "the cat", "a-b", "a b", "U.S.", "us", "US", "well-known",
    "wellknown", "well known", "1914–18", "1914-18", "191418", "–the–", "– –", "– the –", "«the cat»", "“the cat”",
    "'the cat'", "the_cat", "_the_", "$5.00", "500", "£5", "5", "a\u0301b", "the\u0301", "é", "É", "e\u0301", "ÉCOLE the",
    "école", "Straße", "strasse", "STRASSE", "ΑΒΓ", "αβγ", "Ⱥⱥ", "ⱥⱥ", "ǅ", "ǆ", "Ⅷ", "ⅷ", "中文 the 中文", "中文the中文",
    "中文 中文", "x²a", "a²", "the²", "½a½", "an\u00a0apple", "apple", "an\u2003apple", "the\u200bcat", "\u200bthe\u200b", "a\u0085b",
    "a\x1cb", "a\tb\nc", "a b c", "b c", "c b", "c c b", "c b b", "b", "cat cat the cat", "cat", "cat cat", "cat cat cat cat",
    "\\backslash\\", "Theatre a theatre", "another an", "antheap", "the the the", "an a the end", "end", "🙂the🙂", "🙂 🙂",
    "और the और", "10,000", "10000", "10 000", "o'clock", "oclock", "rock'n'roll", "rocknroll", "\u2019the\u2019", "a\u2028the\u2029b",
]
WORDS = ["the", "The", "a", "an", "cat", "Cat", "dog", "dog.", "(dog)", "1,000", "é", "–", "the-", "-a", "x", "y", ""]


def escape(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


with open("tests/fixtures/texts.tsv", "w", newline="\n") as out:
    rows = [(p, [g]) for p in TEXTS for g in random.sample(TEXTS, 6) + [p]]
    for a, b in zip(TEXTS, TEXTS[1:]):
        rows += [(a, [b]), (b, [a])]
    for _ in range(300):
        phrase = lambda: random.choice([" ", "  ", "\u00a0", "-"]).join(random.choices(WORDS, k=random.randint(0, 6)))
        rows.append((phrase(), [phrase() for _ in range(random.randint(1, 4))]))
    for prediction, answers in rows:
        exact, overlap = score(prediction, answers)
        print(escape(prediction), len(answers), *map(escape, answers), exact, repr(overlap), sep="\t", file=out)

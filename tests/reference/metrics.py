"""Writes tests/fixtures/metrics.tsv: columns of labels and predictions with scikit-learn's scores.

python tests/reference/metrics.py    (needs scikit-learn; not needed to run the tests)
Each row: labels, predictions (strings of 0 and 1), accuracy, F1 of class 1, Matthews' correlation.
"""
import random
import warnings

from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

warnings.simplefilter("ignore")  # scikit-learn warns where it answers 0
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

with open("tests/fixtures/metrics.tsv", "w") as out:
    for labels, predictions in cases:
        y, p = [int(c) for c in labels], [int(c) for c in predictions]
        scores = accuracy_score(y, p), f1_score(y, p), matthews_corrcoef(y, p)
        print(labels, predictions, *(repr(float(s)) for s in scores), sep="\t", file=out)

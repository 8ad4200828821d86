"""Counts of true and predicted labels, and the metrics that follow from them.

A confusion matrix of 1,200 labels is 99.97 % zeros, so it is kept as a counter of (true, predicted) pairs.
Means are summed with compensation (`math.fsum`): plain summation is one ulp off in three of eight published
runs (formats 3.1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class LabelScore(NamedTuple):
    """One row of a per-class table.

    Attributes:
        label: the class.
        support, predicted: how often it is true, and how often predicted.
        precision, recall, f1: 0.0 where undefined.
    """

    label: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float


class Confusion:
    """True and predicted labels of a set of rows.

    Args:
        pairs: (true, predicted) per row.

    Attributes:
        cells: rows per pair.
        support, predicted: rows per true and per predicted label, in order of first appearance.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        pairs = list(pairs)
        self.cells = Counter(pairs)
        self.support = Counter(true for true, _ in pairs)
        self.predicted = Counter(predicted for _, predicted in pairs)
        self.rows = len(pairs)

    @property
    def correct(self) -> int:
        """Rows whose predicted label is the true one."""
        return sum(count for (true, predicted), count in self.cells.items() if true == predicted)

    @property
    def accuracy(self) -> float | None:
        """Share of correct rows; None without rows."""
        return ratio(self.correct, self.rows)

    def labels(self, options: Sequence[str] = ()) -> list[str]:
        """All options, then what is true and what is predicted besides, in order of first appearance."""
        return list(dict.fromkeys((*options, *self.support, *self.predicted)))

    def score(self, label: str) -> LabelScore:
        """Precision, recall and F1 of one label."""
        hits = self.cells[label, label]
        support, predicted = self.support[label], self.predicted[label]
        precision = hits / predicted if predicted else 0.0
        recall = hits / support if support else 0.0
        return LabelScore(label, support, predicted, precision, recall, harmonic(precision, recall))

    def macro_f1(self, labels: Sequence[str]) -> float | None:
        """Unweighted mean F1 over `labels`; None for no labels.

        Which labels are averaged decides the number: the JSON-QA evaluations take every option, the task
        suite only those with support. Two metrics, one name; see formats 3.1 and 3.4.
        """
        return mean([self.score(label).f1 for label in labels])

    def balanced_accuracy(self) -> float | None:
        """Mean recall over labels with support."""
        return mean([self.score(label).recall for label in self.support])

    def weighted_f1(self) -> float | None:
        """Mean F1 over labels with support, weighted by it."""
        if not self.rows:
            return None
        return math.fsum(self.score(label).f1 * count for label, count in self.support.items()) / self.rows

    def most_common(self) -> str | None:
        """The most frequent true label, the first of equals; None without rows."""
        return self.support.most_common(1)[0][0] if self.rows else None


def harmonic(precision: float, recall: float) -> float:
    """F1 of a precision and a recall."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def ratio(part: int, whole: int) -> float | None:
    """`part / whole`; None where there is nothing to divide by."""
    return part / whole if whole else None


def mean(values: Sequence[float]) -> float | None:
    """Compensated mean; None without values."""
    return math.fsum(values) / len(values) if values else None

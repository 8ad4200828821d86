"""Pooled precision, recall and F1 of predicted object sets (formats 3.1 and 3.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from pipeline.metrics.classification import harmonic


class SetCounts(NamedTuple):
    """Names found, invented and missed, summed over rows."""

    hits: int
    invented: int
    missed: int

    def __add__(self, other: object) -> SetCounts:
        if not isinstance(other, SetCounts):
            return NotImplemented
        return SetCounts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        """Share of predicted names that are true; 0.0 where none is predicted."""
        return self.hits / (self.hits + self.invented) if self.hits + self.invented else 0.0

    @property
    def recall(self) -> float:
        """Share of true names that are predicted; 0.0 where none is true."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else 0.0

    @property
    def f1(self) -> float | None:
        """Micro F1; None where no row has a name, true or predicted."""
        return harmonic(self.precision, self.recall) if any(self) else None


NOTHING = SetCounts(0, 0, 0)


def compare(true: Collection[str], predicted: Collection[str]) -> SetCounts:
    """Counts of one row; duplicates collapse, case matters."""
    wanted, found = set(true), set(predicted)
    return SetCounts(len(wanted & found), len(found - wanted), len(wanted - found))


def pooled(rows: Iterable[SetCounts]) -> SetCounts:
    """The sum over rows."""
    total = NOTHING
    for row in rows:
        total = total + row
    return total

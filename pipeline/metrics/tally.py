"""Counts of one episode's rows, small enough to be added up a thousand times for the intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.metrics.answers import Options, is_valid
from pipeline.metrics.classification import harmonic, ratio
from pipeline.metrics.intervals import RESAMPLES, Interval, bootstrap
from pipeline.metrics.json_qa import TEXT_FIELDS, Judged, has_fields
from pipeline.metrics.objects import SetCounts, pooled


class Tally(NamedTuple):
    """What one episode adds to every metric.

    Attributes:
        rows, valid: rows, and rows with valid JSON.
        support, predicted, hits: rows per true label, per predicted label, and where both agree.
        right, known: per text field, exact answers and rows whose truth is known.
        objects: object names found, invented, missed.
    """

    rows: int
    valid: int
    support: Counter[str]
    predicted: Counter[str]
    hits: Counter[str]
    right: Counter[str]
    known: Counter[str]
    objects: SetCounts


def intervals(
    judged: Sequence[Judged], options: Options, *, resamples: int = RESAMPLES
) -> dict[str, Interval | None]:
    """Intervals by episode for the headline metrics; empty with fewer than two episodes."""
    episodes: dict[str, list[Judged]] = {}
    for one in judged:
        episodes.setdefault(one.row.episode_id, []).append(one)
    measure = measure_of(options, fields=has_fields(judged))
    return bootstrap([tally(rows) for rows in episodes.values()], measure, resamples=resamples)


def measure_of(options: Options, *, fields: bool) -> Callable[[Sequence[Tally]], dict[str, float | None]]:
    """The headline metrics as a function of episodes.

    Args:
        options: the dataset's action list.
        fields: whether the rows bring their true fields.
    """
    listed = frozenset(options.labels)

    def measure(units: Sequence[Tally]) -> dict[str, float | None]:
        found = _action(units, listed)
        if fields:
            found |= {
                f"{field}_accuracy": ratio(
                    sum(u.right[field] for u in units), sum(u.known[field] for u in units)
                )
                for field in TEXT_FIELDS
            }
            found["object_micro_f1"] = pooled(unit.objects for unit in units).f1
        return found

    return measure


def tally(rows: Sequence[Judged]) -> Tally:
    """Count one episode."""
    verdicts = [(field, one.field_correct(field)) for one in rows for field in TEXT_FIELDS]
    return Tally(
        rows=len(rows),
        valid=sum(is_valid(one.answer) for one in rows),
        support=Counter(one.row.true_label for one in rows),
        predicted=Counter(one.label for one in rows),
        hits=Counter(one.label for one in rows if one.correct),
        right=Counter(field for field, verdict in verdicts if verdict),
        known=Counter(field for field, verdict in verdicts if verdict is not None),
        objects=pooled(one.objects() for one in rows),
    )


def _action(units: Sequence[Tally], listed: frozenset[str]) -> dict[str, float | None]:
    rows = sum(unit.rows for unit in units)
    support, predicted, hits = (_sum(units, name) for name in ("support", "predicted", "hits"))
    total = math.fsum(
        harmonic(count / predicted[label], count / support[label]) for label, count in hits.items()
    )  # F1 is 0 for every label without a hit
    averaged = len(listed) + len((support.keys() | predicted.keys()) - listed)
    return {
        "accuracy": ratio(sum(hits.values()), rows),
        "action_macro_f1": total / averaged if averaged else None,
        "action_supported_macro_f1": total / len(support) if support else None,
        "json_validity_rate": ratio(sum(unit.valid for unit in units), rows),
    }


def _sum(units: Sequence[Tally], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for unit in units:
        total.update(getattr(unit, name))
    return total

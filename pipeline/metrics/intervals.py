"""Bootstrap intervals, resampling whole episodes.

Windows of one episode resemble one another, so resampling windows would promise far more certainty than 14
held-out episodes give.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")

RESAMPLES = 1000
SEED = 7


class Interval(Struct, frozen=True):
    """Where 95 % of the resampled values lie.

    Attributes:
        low, high: the 2.5th and 97.5th percentile.
        resamples: resamples in which the metric was defined.
    """

    low: float
    high: float
    resamples: int


def bootstrap(
    units: Sequence[T],
    measure: Callable[[Sequence[T]], Mapping[str, float | None]],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval | None]:
    """Intervals of every metric that `measure` gives, resampling units with replacement.

    Args:
        units: one per episode; whatever `measure` can compute its metrics from.
        measure: metrics of a set of units; None where undefined.
        resamples: how many sets are drawn; none without resamples or with fewer than two units.
        seed: the same seed draws the same sets.

    Returns:
        None for a metric that was defined in fewer than half of the resamples.
    """
    if resamples < 1 or len(units) < 2:
        return {}
    rng = random.Random(seed)
    values: dict[str, list[float]] = {}
    for _ in range(resamples):
        for name, value in measure(rng.choices(units, k=len(units))).items():
            kept = values.setdefault(name, [])
            if value is not None:
                kept.append(value)
    return {name: _interval(found, resamples) for name, found in values.items()}


def _interval(values: list[float], resamples: int) -> Interval | None:
    if 2 * len(values) < resamples:
        return None
    values.sort()
    last = len(values) - 1
    return Interval(values[round(0.025 * last)], values[round(0.975 * last)], len(values))

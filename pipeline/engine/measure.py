"""Events that come in thousands: which of their fields count, read for many rows at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any, cast

import msgspec

from pipeline.engine.events import Row, clock, clocks
from pipeline.engine.rings import RECENT_POINTS, Curve, Recent

#: One field of many rows; None where a row does not have it.
Column = Sequence[float | None]


class Measure(msgspec.Struct, frozen=True):
    """What to read from an event that comes in thousands.

    Attributes:
        done: fields that may hold the count reached, best first.
        value: fields that may hold the measured value, best first.
        curve: what the value is: `loss`, `seconds`, or `bytes`, which add up.
    """

    done: tuple[str, ...]
    value: tuple[str, ...]
    curve: str


_FILE = Measure(done=("done",), value=("bytes",), curve="bytes")
#: A chunk's row counts the chunks of its file, which is not how far the log has come.
_CHUNK = Measure(done=(), value=("bytes",), curve="bytes")
_LOSS = ("rank0_batch_loss", "rank0_loss", "loss")
MEASURES = {
    "train_step": Measure(done=("global_step", "step", "done"), value=_LOSS, curve="loss"),
    "eval_step": Measure(done=("index", "step", "done"), value=("loss", "rank0_loss"), curve="loss"),
    "sample_done": Measure(done=("completed_samples", "done"), value=("seconds",), curve="seconds"),
    "chunk_done": _CHUNK,
    "chunk_downloaded": _CHUNK,
    "file_done": _FILE,
    "download_done": _FILE,
    "skip_existing": _FILE,
    "split_transfer_done": _FILE,
    "direct_transfer_done": _FILE,
}

_GETTERS: dict[str, Callable[[Row], Any]] = {name: attrgetter(name) for name in Row.__struct_fields__}


def add_recent(recent: Recent, run: list[Row], values: Column) -> None:
    """Add the newest of `run` to a recent series, where both time and value are known."""
    times, newest = clocks(run[-RECENT_POINTS:]), values[-RECENT_POINTS:]
    if has_gaps(times) or has_gaps(newest):
        points = [(t, y) for t, y in zip(times, newest, strict=True) if t is not None and y is not None]
        times, newest = [t for t, _ in points], [y for _, y in points]
    recent.extend(cast("Sequence[float]", times), cast("Sequence[float]", newest))


def add_curve(curve: Curve, run: list[Row], reached: Column, values: Column) -> None:
    """Add `run` to a curve; where no count is known, the number of the point is its x."""
    wanted = curve.wanted(len(run))
    first = curve.count
    xs, ys, ts = reached[wanted], values[wanted], clocks(run[wanted])
    if has_gaps(xs):
        xs = [float(first + i) if x is None else x for i, x in zip(range(len(run))[wanted], xs, strict=True)]
    last_x = reached[-1] if reached[-1] is not None else float(first + len(run) - 1)
    last = (last_x, _or_nan(values[-1]), clock(run[-1]) or 0.0)
    curve.extend(len(run), (cast("Sequence[float]", xs), _no_gaps(ys), _no_gaps(ts)), last)


def running_sum(values: Column, start: float) -> list[float]:
    """Sums up to and with each value; what is absent or not finite adds nothing."""
    if has_gaps(values) or not math.isfinite(sum(cast("Sequence[float]", values))):
        values = [v if v is not None and math.isfinite(v) else 0.0 for v in values]
    return list(accumulate(cast("Sequence[float]", values), initial=start))[1:]


def has_gaps(values: Column) -> bool:
    """Whether a value is None. Adding up is four times faster than comparing each with None."""
    try:
        sum(cast("Sequence[float]", values))
    except TypeError:
        return True
    return False


def _no_gaps(values: Column) -> Sequence[float]:
    return [_or_nan(v) for v in values] if has_gaps(values) else cast("Sequence[float]", values)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def column(run: list[Row], fields: tuple[str, ...]) -> Column:
    """The first of `fields` that each row has, None for rows that have none of them."""
    values: list[float | None] = []
    for field in fields:
        others = list(map(_GETTERS[field], run))
        if not values:
            values = others
        else:
            values = [o if v is None else v for v, o in zip(values, others, strict=True)]
        if not has_gaps(values):
            break
        if values.count(None) == len(values):
            values = []
    return values or [None] * len(run)

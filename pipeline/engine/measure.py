"""Events that come in thousands: which of their fields count, read for many rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from pipeline.engine.events import Row, clocks
from pipeline.engine.rings import RECENT_POINTS, Recent


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
_LOSS = ("rank0_batch_loss", "rank0_loss", "loss")
MEASURES = {
    "train_step": Measure(done=("global_step", "step", "done"), value=_LOSS, curve="loss"),
    "eval_step": Measure(done=("index", "step", "done"), value=("loss", "rank0_loss"), curve="loss"),
    "sample_done": Measure(done=("completed_samples", "done"), value=("seconds",), curve="seconds"),
    "chunk_done": _FILE,
    "file_done": _FILE,
    "download_done": _FILE,
    "skip_existing": _FILE,
    "split_transfer_done": _FILE,
    "direct_transfer_done": _FILE,
}

_GETTERS: dict[str, Callable[[Row], Any]] = {name: attrgetter(name) for name in Row.__struct_fields__}


def add_recent(recent: Recent, run: list[Row], values: Sequence[float | None]) -> None:
    """Add the newest of `run` to a recent series, where both time and value are known."""
    times, newest = clocks(run[-RECENT_POINTS:]), values[-RECENT_POINTS:]
    points = [(t, y) for t, y in zip(times, newest, strict=True) if t is not None and y is not None]
    recent.extend([t for t, _ in points], [y for _, y in points])


def column(run: list[Row], fields: tuple[str, ...]) -> Sequence[float | None]:
    """The first of `fields` that each row has, None for rows that have none of them."""
    values: list[float | None] = []
    for field in fields:
        others = list(map(_GETTERS[field], run))
        if not values:
            values = others
        else:
            values = [o if v is None else v for v, o in zip(values, others, strict=True)]
        if None not in values:
            break
        if values.count(None) == len(values):
            values = []
    return values or [None] * len(run)

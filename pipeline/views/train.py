"""A training as its log tells it: ours, or the original project's (formats section 2.12)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

Points = list[tuple[float, float]]

#: Points of a curve that are kept; beyond it every second one goes.
MOST_POINTS = 20_000

#: What an event without a `phase` of its own says about it.
_PHASES = {
    "model_load_start": "model_load",
    "accelerator_prepare_start": "prepare",
    "train_loop_start": "train",
    "save_start": "save",
}
_ENDS = {"complete": "complete", "failed": "failed", "cancelled": "cancelled"}
_LOSSES = ("rank0_batch_loss", "rank0_loss", "loss")

#: How many passed phases and steps are remembered.
_REMEMBERED = 50


class Phase(Struct):
    """One stretch of the training.

    Attributes:
        name: what was done.
        began, ended: Unix seconds; ended None while it goes on.
    """

    name: str
    began: float
    ended: float | None = None


class TrainFold:
    """Everything a training's log has told so far.

    Attributes:
        setup: of the newest `setup_done` or `train_loop_start`.
        loss, rate, norm: curves over steps; NaN where a step said so.
        val: validation loss over steps.
        generated: newest and earlier `generated_eval` events.
        step: the newest `train_step`.
        phases: oldest first; `devices` the newest use per rank.
        attempts: starts seen; `checkpoint` the newest saved step; `trouble` the newest error.
        ended: how it ended, empty while it goes on; `last` the time of the newest event.
    """

    def __init__(self) -> None:
        self.setup: Mapping[str, Any] = {}
        self.loss: Points = []
        self.rate: Points = []
        self.norm: Points = []
        self.val: Points = []
        self.generated: list[Mapping[str, Any]] = []
        self.step: Mapping[str, Any] = {}
        self.phases: deque[Phase] = deque(maxlen=_REMEMBERED)
        self.devices: dict[int, Mapping[str, Any]] = {}
        self.attempts = 0
        self.checkpoint: int | None = None
        self.trouble = ""
        self.ended = ""
        self.last: float | None = None
        self._times: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    @property
    def total(self) -> int | None:
        """Planned steps, as far as anything says; the published logs say rows, epochs and a limit."""
        if isinstance(self.step.get("total"), int):
            return int(self.step["total"])
        rows = self.setup.get("rank_samples_per_epoch") or self.setup.get("rank0_samples_per_epoch")
        epochs, limit = self.setup.get("epochs"), self.setup.get("max_train_steps")
        planned = rows * epochs if isinstance(rows, int) and isinstance(epochs, int) else None
        if isinstance(limit, int) and limit > 0:
            return limit if planned is None else min(limit, planned)
        return planned

    @property
    def done(self) -> int:
        """The newest step."""
        return int(self.step.get("global_step") or 0)

    @property
    def best(self) -> tuple[float, float] | None:
        """Step and loss of the best validation."""
        finite = [point for point in self.val if math.isfinite(point[1])]
        return min(finite, key=lambda point: point[1]) if finite else None

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the pace of the last steps; None where it is not known."""
        if self.total is None or self.ended or len(self._times) < 2:
            return None
        (first, began), (newest, ended) = self._times[0], self._times[-1]
        if newest <= first or ended <= began:
            return None
        return (self.total - newest) * (ended - began) / (newest - first)

    @property
    def rising(self) -> int:
        """Validations in a row above the best."""
        best = self.best
        return sum(1 for step, _ in self.val if best is not None and step > best[0])

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event; unknown ones only move the clock."""
        when = event.get("timestamp", event.get("time"))
        if isinstance(when, (int, float)):
            self.last = float(when)
        name = str(event.get("event"))
        if name == "phase" or name in _PHASES:
            self._begin(str(event.get("phase") or _PHASES.get(name, name)))
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(event)
        elif name in _ENDS:
            self._end(name, event)

    def _on_start(self, _event: Mapping[str, Any]) -> None:
        self.attempts += 1
        self.ended, self.trouble = "", ""

    def _on_setup_done(self, event: Mapping[str, Any]) -> None:
        self.setup = {**self.setup, **event}

    _on_train_loop_start = _on_setup_done

    def _on_train_step(self, event: Mapping[str, Any]) -> None:
        step = event.get("global_step", event.get("step"))
        if not isinstance(step, (int, float)):
            return
        self._rewind(step)
        self.step = {**event, "global_step": int(step)}
        loss = next((event[key] for key in _LOSSES if key in event), None)
        for curve, value in (
            (self.loss, loss),
            (self.rate, event.get("lr")),
            (self.norm, event.get("grad_norm")),
        ):
            if value is not None or curve is self.loss:
                number = float(value) if isinstance(value, (int, float)) else math.nan
                curve.append((float(step), number))
                if len(curve) > MOST_POINTS:
                    del curve[1::2]
        if self.last is not None:
            self._times.append((float(step), self.last))

    def _rewind(self, step: float) -> None:
        """A resumed attempt goes over steps again: what it says now counts."""
        if self.loss and step <= self.loss[-1][0]:
            for curve in (self.loss, self.rate, self.norm, self.val):
                while curve and curve[-1][0] >= step:
                    curve.pop()
            self._times.clear()

    def _on_val_end(self, event: Mapping[str, Any]) -> None:
        self._validated(event)

    def _on_epoch_end(self, event: Mapping[str, Any]) -> None:
        self._validated(event)

    def _validated(self, event: Mapping[str, Any]) -> None:
        step, loss = event.get("global_step"), event.get("val_loss")
        if isinstance(step, (int, float)) and isinstance(loss, (int, float)):
            if self.val and self.val[-1][0] == step:
                self.val.pop()
            self.val.append((float(step), float(loss)))

    def _on_generated_eval(self, event: Mapping[str, Any]) -> None:
        self.generated.append(event)

    def _on_device(self, event: Mapping[str, Any]) -> None:
        rank = event.get("rank")
        self.devices[rank if isinstance(rank, int) else 0] = event

    def _on_checkpoint_saved(self, event: Mapping[str, Any]) -> None:
        step = event.get("global_step")
        self.checkpoint = step if isinstance(step, int) else self.checkpoint

    def _on_loss_not_finite(self, event: Mapping[str, Any]) -> None:
        names = event.get("sample_ids")
        told = ", ".join(map(str, names[:4])) if isinstance(names, list) else ""
        self.trouble = f"the loss of step {event.get('global_step')} is not finite; samples {told}"

    def _begin(self, name: str) -> None:
        if self.phases and self.phases[-1].ended is None:
            if self.phases[-1].name == name:
                return
            self.phases[-1].ended = self.last
        self.phases.append(Phase(name, self.last or 0.0))

    def _end(self, name: str, event: Mapping[str, Any]) -> None:
        self.ended = str(event.get("status") or _ENDS[name])
        if name == "failed":
            self.trouble = str(event.get("message") or event.get("error") or self.trouble)
        if self.phases and self.phases[-1].ended is None:
            self.phases[-1].ended = self.last


def smoothed(points: Points, weight: float = 0.1) -> Points:
    """The running mean of a curve; values that are not numbers are passed over."""
    found: Points = []
    mean: float | None = None
    for x, y in points:
        if math.isfinite(y):
            mean = y if mean is None else mean + (y - mean) * weight
            found.append((x, mean))
    return found

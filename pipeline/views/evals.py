"""One shard of an evaluation as its log tells it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

#: Newest invalid answers and errors that are kept, and times the rate is taken over.
_KEPT, _TIMES = 10, 40


class EvalFold:
    """Everything one shard has told so far.

    Attributes:
        offset, stride, total: its share of the rows.
        done, valid, right, truncated, errors, absorbed: rows, of this log's attempts together.
        identity: of model and data.
        baseline: accuracy of the most frequent label alone; None until told.
        invalid: newest invalid answers as (id, text).
        troubles: newest errors in words.
        ended: how it ended, empty while it goes on; `last` the time of the newest event.
    """

    def __init__(self) -> None:
        self.offset, self.stride, self.total = 0, 1, 0
        self.done = self.valid = self.right = self.truncated = self.errors = self.absorbed = 0
        self.told = 0
        self.identity = ""
        self.baseline: float | None = None
        self.invalid: deque[tuple[str, str]] = deque(maxlen=_KEPT)
        self.troubles: deque[str] = deque(maxlen=_KEPT)
        self.ended = ""
        self.last: float | None = None
        self._times: deque[float] = deque(maxlen=_TIMES)

    @property
    def rate(self) -> float | None:
        """Rows per second lately; None where it is not known."""
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    @property
    def eta_s(self) -> float | None:
        """Seconds left for its own share; None where it is not known."""
        rate = self.rate
        return max(0, self.total - self.done) / rate if rate and not self.ended else None

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event; unknown ones only move the clock."""
        when = event.get("timestamp", event.get("time"))
        if isinstance(when, (int, float)):
            self.last = float(when)
        name = str(event.get("event"))
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(event)

    def _on_start(self, _event: Mapping[str, Any]) -> None:
        self.ended = ""

    def _on_eval_start(self, event: Mapping[str, Any]) -> None:
        self.offset, self.stride = _whole(event, "sample_offset"), _whole(event, "sample_stride", 1)
        self.total = _whole(event, "num_eval_samples")
        self.done = _whole(event, "completed_before_start")
        self.identity = str(event.get("identity") or "")
        self.ended = ""

    def _on_sample_done(self, event: Mapping[str, Any]) -> None:
        self.done += 1
        self.told += "valid" in event
        self.valid += bool(event.get("valid"))
        self.right += bool(event.get("action_correct"))
        self.truncated += bool(event.get("truncated"))
        if self.last is not None:
            self._times.append(self.last)

    def _on_sample_error(self, event: Mapping[str, Any]) -> None:
        self.errors += 1
        self.troubles.append(f"{event.get('sample_id')}: {event.get('error_type')}: {event.get('error')}")

    def _on_row_absorbed(self, _event: Mapping[str, Any]) -> None:
        self.absorbed += 1

    def _on_running_metrics(self, event: Mapping[str, Any]) -> None:
        baseline = event.get("baseline_accuracy")
        self.baseline = float(baseline) if isinstance(baseline, (int, float)) else self.baseline

    def _on_invalid_answer(self, event: Mapping[str, Any]) -> None:
        self.invalid.append((str(event.get("sample_id")), str(event.get("text"))))

    def _on_eval_complete(self, event: Mapping[str, Any]) -> None:
        self.ended = "complete"
        self._on_running_metrics(event)

    def _on_complete(self, _event: Mapping[str, Any]) -> None:
        self.ended = "complete"

    def _on_cancelled(self, _event: Mapping[str, Any]) -> None:
        self.ended = "cancelled"

    def _on_failed(self, event: Mapping[str, Any]) -> None:
        self.ended = "failed"
        self.troubles.append(str(event.get("message") or event.get("error")))


def _whole(event: Mapping[str, Any], key: str, default: int = 0) -> int:
    value = event.get(key)
    return value if isinstance(value, int) else default

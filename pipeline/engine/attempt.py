"""One attempt inside a log: what it announced, how far it got, its phases, and how it ended.

Reading rules are in `pipeline.engine.reduce`, which feeds this row by row.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from pipeline.engine.events import Detail, Row, number_of, text_of

Terminal = Literal["complete", "failed", "none"]

#: Most phases, and most opening events, that are told apart.
MAX_PHASES = 256
MAX_OPENINGS = 4096

#: Events that begin an attempt when they come again; starts of phases and of units of work do not.
OPENING = frozenset(
    {"start", "setup_start", "setup_done", "eval_start", "launch_start", "watch_start", "stage_start"}
)

_GOOD_ENDS = frozenset({"complete", "eval_complete", "watch_complete", "stage_done", "done"})
_BAD_ENDS = frozenset(
    {
        "failed",
        "error",
        "cancelled",
        "launch_failed",
        "stage_failed",
        "stage_cancelled",
        "already_running",
        "timeout",
    }
)
_BAD_WORDS = frozenset({"fail", "failed", "failure", "error", "aborted", "cancelled", "killed", "crashed"})
_GOOD_WORDS = frozenset({"complete", "completed", "success", "succeeded", "ok", "pass", "passed", "done"})

#: Last words of events that end the phase `<name>_start` began.
_PHASE_ENDS = frozenset({"done", "exit", "skipped", "skip", "complete"})

#: Field names of numbers worth keeping, and the name each is kept under.
_FACTS = {
    "epochs": "epochs",
    "max_train_steps": "max_steps",
    "max_steps": "max_steps",
    "rank_samples_per_epoch": "rank_samples",
    "rank0_samples_per_epoch": "rank_samples",
    "num_eval_samples": "num_eval_samples",
    "num_processes": "num_processes",
    "process_index": "process_index",
    "sample_offset": "sample_offset",
    "sample_stride": "sample_stride",
}


class Phase(msgspec.Struct):
    """All times one phase of an attempt ran, such as `model_load`.

    Attributes:
        count: how often it ended.
        seconds: how long it took in all.
        since: when it began, if it is running now.
    """

    count: int = 0
    seconds: float = 0.0
    since: float | None = None

    def end(self, now: float) -> None:
        """The phase ends at `now`, if it runs."""
        if self.since is not None:
            self.count += 1
            self.seconds += max(0.0, now - self.since)
            self.since = None


class Attempt(msgspec.Struct):
    """What belongs to one attempt and is forgotten when the next begins.

    Attributes:
        openings: opening events seen, to notice the first that comes again.
        terminal, reason: how it ended; the reason names event and status.
        done, total, unit: progress as the rows themselves state it.
        facts: announced numbers (epochs, ranks, samples).
        cosmos: whether the first training step was written by the forward-dynamics trainer; None before it.
        batch_size: samples of one rank in a training step.
        ended: how often each `*_done` event came.
        moved: bytes by the event that reported them.
        phases: phases by name, in order of their first start.
    """

    openings: set[str] = msgspec.field(default_factory=set)
    terminal: Terminal = "none"
    reason: str = ""
    done: float | None = None
    total: float | None = None
    unit: str | None = None
    facts: dict[str, float] = msgspec.field(default_factory=dict)
    cosmos: bool | None = None
    batch_size: int = 1
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    moved: dict[str, float] = msgspec.field(default_factory=dict)
    phases: dict[str, Phase] = msgspec.field(default_factory=dict)

    def take_facts(self, name: str, detail: Detail) -> None:
        """Keep what the row announces: numbers of epochs, ranks and samples, and samples done before."""
        facts = self.facts
        for field, fact in _FACTS.items():
            if field in detail and (value := _finite(detail, field)) is not None:
                facts[fact] = value
        if name == "eval_start" and self.done is None:
            self.done = _finite(detail, "completed_before_start")
        elif name == "eval_done" and "num_eval_samples" in facts:
            self.done = facts["num_eval_samples"]

    def take_first_step(self, detail: Detail) -> None:
        """Learn from the attempt's first training step who writes it and how many samples a step takes.

        `global_step` counts batches and `rank0_seen` samples, both from zero only in the first epoch.
        """
        self.cosmos = "rank0_loss" in detail
        self.take_facts("train_step", detail)
        seen, step = _finite(detail, "rank0_seen"), _finite(detail, "global_step")
        if seen and step and detail.get("epoch") == 1:
            self.batch_size = max(1, math.ceil(seen / step))

    def take_progress(self, name: str, row: Row, detail: Detail) -> bool:
        """Keep the progress a row states itself; whether it stated any."""
        if name.endswith("_done") and (name in self.ended or len(self.ended) < MAX_PHASES):
            self.ended[name] = self.ended.get(name, 0) + 1
        done = _finite(detail, "completed") if name == "eval_progress_observed" else row.done
        if (
            done is None
            or not math.isfinite(done)
            or (row.total is not None and not math.isfinite(row.total))
        ):
            return False
        if detail.get("unit") == "chunk" and "file" in detail:
            return False  # how far one file has come
        self.done = done
        self.total = self.total if row.total is None else row.total
        self.unit = text_of(detail, "unit", 20) or self.unit
        return True

    def take_phase(self, name: str, detail: Detail, now: float | None) -> None:
        """Start or end the phase the row speaks of. A `phase` row ends the phase before it."""
        if now is None:
            return
        if name == "phase":
            self._end_phases(now)
            self._start_phase(text_of(detail, "phase", 60) or "?", now)
            return
        stem, _, suffix = name.rpartition("_")
        if suffix == "start" and name not in OPENING:
            self._start_phase(stem, now)
        elif suffix in _PHASE_ENDS and stem in self.phases:
            self.phases[stem].end(now)

    def _start_phase(self, name: str, now: float) -> None:
        if name in self.phases or len(self.phases) < MAX_PHASES:
            self.phases.setdefault(name, Phase()).since = now

    def _end_phases(self, now: float) -> None:
        for phase in self.phases.values():
            phase.end(now)

    def take_end(self, name: str, detail: Detail, now: float | None) -> None:
        """Note it if the row ends the attempt, and how."""
        status = text_of(detail, "status", 120) or ""
        if name in _GOOD_ENDS:
            self._take_good_end(name, status)
        elif name in _BAD_ENDS or name.startswith("blocked_"):
            self.terminal = "failed"
            told = (text_of(detail, key) for key in ("message", "error", "reason"))
            self.reason = next(filter(None, told), status or name)
        elif name == "conductor_end":
            self.terminal = "failed" if "hint" in detail else "complete"
            self.reason = text_of(detail, "message") or ""
        elif name.endswith("_exit") and number_of(detail, "returncode") not in (None, 0):
            self.terminal = "failed"
            self.reason = f"{name} with return code {number_of(detail, 'returncode'):g}"
        else:
            return
        if now is not None:
            self._end_phases(now)

    def _take_good_end(self, name: str, status: str) -> None:
        words = set(re.split(r"[^a-z]+", status.lower()))
        if self.terminal == "failed" and name == "complete" and not words & _GOOD_WORDS:
            return
        self.terminal = "failed" if words & _BAD_WORDS else "complete"
        self.reason = status


def _finite(detail: Detail, name: str) -> float | None:
    value = number_of(detail, name)
    return value if value is not None and math.isfinite(value) else None

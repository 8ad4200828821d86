"""From rows to one log's story: counts, attempts, progress, losses, phases, how it ended.

Rules, each owed to a log that exists:

* A log may hold several attempts, appended. Ours count their rows from 1 in each writer (`seq`), so a
  restart is a fact. In foreign logs an opening event (`start`, `setup_done`, `eval_start`, ...) that
  occurs again, or follows an end, begins a new attempt. How an attempt ended, its progress and its
  phases are its own; curves and losses go on through all attempts.
* `complete` ends an attempt well unless its `status` says otherwise or a `failed` row came before. Rows
  after the end (a repaired adapter) change nothing about it.
* A watcher dies with the command it waits for: an `*_exit` row with a return code other than 0 is its
  failure, as are `blocked_*` and `timeout`. A later `watch_start` is a new attempt and owes nothing to it.
* A log that just stops has no end; whether its process still lives is not in the log.
* Samples finish out of order when several run at once, so progress is the largest count seen.
* An unknown event is counted and shown; at most `MAX_NAMES` different names are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, cast

import msgspec

from pipeline.engine.events import Batch, Detail, Row, clock, clocks, number_of, text_of
from pipeline.engine.families import vote
from pipeline.engine.rings import RECENT_POINTS, Curve, Recent

Terminal = Literal["complete", "failed", "none"]

MAX_NAMES = 256
OTHER = "(other)"
MAX_ERRORS = 20
MAX_OPENINGS = 4096

OPENING = frozenset(
    {"start", "setup_start", "setup_done", "eval_start", "launch_start", "watch_start", "stage_start"}
)
#: `*_start` events of units of work; a log that begins with one does not begin again with the next.
_UNIT_STARTS = frozenset(
    {"download_start", "file_start", "rsync_start", "chunk_transfer_start", "shard_start"}
)

_GOOD_ENDS = frozenset({"complete", "eval_complete", "watch_complete", "stage_done", "done"})
_BAD_ENDS = frozenset(
    {"failed", "error", "launch_failed", "stage_failed", "stage_cancelled", "already_running", "timeout"}
)
_BAD_WORDS = frozenset(
    {
        "fail",
        "failed",
        "failure",
        "error",
        "aborted",
        "cancelled",
        "canceled",
        "killed",
        "crashed",
        "interrupted",
    }
)
_GOOD_WORDS = frozenset({"complete", "completed", "success", "succeeded", "ok", "pass", "passed", "done"})

#: Field names of facts worth keeping about an attempt, and the name each is kept under.
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
    "shard": "shard",
}

#: Fields that name other runs than the log's own.
_ROLES = ("dataset_run_id", "train_run_id", "eval_run_id", "eval_smoke_run_id")

#: Which run a row speaks of when it has no `run_id`, best first.
_RUN_KEYS = ("run_id", "train_run_id", "eval_run_id", "dataset_run_id")
_PACKAGE_RUN_KEYS = ("run_id", "eval_run_id", "train_run_id", "dataset_run_id")
_PIPELINE_RUN_KEYS = ("run_id", "dataset_run_id")


class Measure(msgspec.Struct, frozen=True):
    """What to read from an event that comes in thousands.

    Attributes:
        done: fields that may hold the count reached, best first.
        value: fields that may hold the measured value, best first.
        curve: the curve the value goes to; `bytes` accumulates.
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

_EVENT = attrgetter("event")
_SEQ = attrgetter("seq")
_TOTAL = attrgetter("total")
_PLANNED = attrgetter("num_eval_samples")
_GETTERS: dict[str, Callable[[Row], Any]] = {name: attrgetter(name) for name in Row.__struct_fields__}


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


class SampleError(msgspec.Struct, frozen=True):
    """One failed sample: where and what."""

    sample_id: str
    error_type: str
    error: str


class Attempt(msgspec.Struct):
    """What belongs to one attempt and is forgotten when the next begins.

    Attributes:
        openings: opening events seen, to notice the first that comes again.
        terminal, reason: how it ended; the reason names event and status.
        done, total, unit: progress as the rows themselves state it.
        facts: announced numbers (epochs, ranks, samples).
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
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    moved: dict[str, float] = msgspec.field(default_factory=dict)
    phases: dict[str, Phase] = msgspec.field(default_factory=dict)


class Reducer(msgspec.Struct):
    """The state of one log; `feed` takes its rows in order, in batches of any size.

    Attributes:
        rows, bad_lines: JSON objects, and lines that are not.
        counts: rows by event name.
        votes: rows by the family they speak for.
        attempts, attempt: how many began, and the current one.
        first_time, last_time: clock of the first and the last row that has one, Unix seconds.
        last_event: name of the last row, whatever it was.
        run_id: the run the rows name, if any does.
        names: other runs they name, by role (`train_run_id`, `eval_run_id`, ...).
        last_loss: newest loss, None if it was not finite; min_loss: smallest finite one.
        nonfinite: losses that were NaN or infinite.
        curves: whole-life curves `loss`, `seconds`, `bytes`, `val`.
        recent: newest (time, done) points of this attempt.
        flows: newest (time, bytes so far) points of this attempt, by the event that reports bytes.
        errors, last_errors: failed samples, and the newest of them.
    """

    rows: int = 0
    bad_lines: int = 0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    votes: dict[str, int] = msgspec.field(default_factory=dict)
    attempts: int = 0
    attempt: Attempt = msgspec.field(default_factory=Attempt)
    opener: str = ""
    first_time: float | None = None
    last_time: float | None = None
    last_event: str | None = None
    run_id: str | None = None
    names: dict[str, str] = msgspec.field(default_factory=dict)
    last_loss: float | None = None
    min_loss: float | None = None
    nonfinite: int = 0
    best_val: float | None = None
    curves: dict[str, Curve] = msgspec.field(default_factory=dict)
    recent: Recent = msgspec.field(default_factory=Recent)
    flows: dict[str, Recent] = msgspec.field(default_factory=dict)
    errors: int = 0
    last_errors: list[SampleError] = msgspec.field(default_factory=list)

    def feed(self, batch: Batch) -> None:
        """Take in the rows of one batch."""
        self.bad_lines += batch.bad
        rows = batch.rows
        if not rows:
            return
        if not self.attempts:
            self.attempts = 1
        # One writer per file: either all rows are numbered or none is.
        restarted = (rows[0].seq is not None or rows[-1].seq is not None) and 1 in map(_SEQ, rows)
        index = 0
        for name, group in groupby(rows, key=_EVENT):
            run = list(group)
            self._count(name, len(run))
            measure = MEASURES.get(name)
            if measure is None or restarted:
                for row in run:
                    self._single(row, batch.detail(index), measure)
                    index += 1
            else:
                if self.run_id is None or (name == "train_step" and "batch" not in self.attempt.facts):
                    self._look_closer(name, batch.detail(index))
                self._measure(name, measure, run)
                index += len(run)
        self.last_event = rows[-1].event

    def _count(self, name: str, number: int) -> None:
        if name not in self.counts and len(self.counts) >= MAX_NAMES:
            name = OTHER
        self.counts[name] = self.counts.get(name, 0) + number
        self.rows += number

    def _vote(self, family: str | None, number: int = 1) -> None:
        if family is not None and number:
            self.votes[family] = self.votes.get(family, 0) + number

    # -- single rows ---------------------------------------------------------------------------------

    def _single(self, row: Row, detail: Detail, measure: Measure | None) -> None:
        name = row.event
        self._notice_attempt(name, row, detail)
        if measure is not None:
            self._look_closer(name, detail)
            self._measure(name, measure, [row])
            return
        now = self._tell_time(row)
        self._vote(vote(name, detail))
        self._take_run_id(name, detail)
        self._take_facts(name, detail)
        self._take_progress(name, row, detail, now)
        self._take_phase(name, detail, now)
        self._take_validation(row, detail, now)
        self._take_end(name, detail, now)
        if name == "sample_error":
            self._take_error(detail)

    def _tell_time(self, row: Row) -> float | None:
        now = clock(row)
        if now is not None:
            self.last_time = now
            if self.first_time is None:
                self.first_time = now
        return now

    def _notice_attempt(self, name: str, row: Row, detail: Detail) -> None:
        if row.seq is not None:
            if row.seq == 1 and self.last_event is not None:
                self._begin_attempt()
            self.last_event = name
            return
        key = (
            f"{name}:{detail.get('phase', detail.get('batch'))}" if name in ("phase", "batch_start") else name
        )
        if self.last_event is None and (
            name == "phase" or (name.endswith("_start") and name not in _UNIT_STARTS)
        ):
            self.opener = key
        self.last_event = name
        attempt = self.attempt
        if name not in OPENING and name != "batch_start" and key != self.opener:
            return
        if key in attempt.openings or (attempt.terminal != "none" and name in OPENING):
            self._begin_attempt()
        if len(self.attempt.openings) < MAX_OPENINGS:
            self.attempt.openings.add(key)

    def _begin_attempt(self) -> None:
        self.attempts += 1
        self.attempt = Attempt()
        self.recent.clear()
        self.flows.clear()

    def _take_run_id(self, name: str, detail: Detail) -> None:
        for role in _ROLES:
            if role in detail and (named := text_of(detail, role)):
                self.names[role] = named
        if self.run_id is not None and name not in OPENING:
            return
        keys = _RUN_KEYS
        if vote(name, detail) == "package_watcher":
            keys = _PACKAGE_RUN_KEYS
        elif name.startswith("cosmos3_"):
            keys = _PIPELINE_RUN_KEYS
        found = next((text for key in keys if (text := text_of(detail, key))), None)
        self.run_id = found or self.run_id

    def _take_facts(self, name: str, detail: Detail) -> None:
        facts = self.attempt.facts
        for field, fact in _FACTS.items():
            if field in detail:
                value = number_of(detail, field)
                if value is not None and math.isfinite(value):
                    facts[fact] = value
        if name == "eval_start" and self.attempt.done is None:
            before = number_of(detail, "completed_before_start")
            if before is not None and math.isfinite(before):
                self.attempt.done = before
        elif name == "eval_done" and "num_eval_samples" in facts:
            self.attempt.done = facts["num_eval_samples"]

    def _look_closer(self, name: str, detail: Detail) -> None:
        """What the first of many equal rows tells beside its measured values."""
        self._take_run_id(name, detail)
        if name == "train_step" and "batch" not in self.attempt.facts:
            self._take_batch_size(detail)

    def _take_batch_size(self, detail: Detail) -> None:
        """Samples of rank 0 per step, by the attempt's first step; only the first epoch counts from zero."""
        seen, step = number_of(detail, "rank0_seen"), number_of(detail, "global_step")
        known = seen and step and detail.get("epoch") == 1 and math.isfinite(seen) and math.isfinite(step)
        self.attempt.facts["batch"] = (
            float(max(1, math.ceil(seen / step))) if known and seen and step else 1.0
        )

    def _take_progress(self, name: str, row: Row, detail: Detail, now: float | None) -> None:
        attempt = self.attempt
        if name.endswith("_done"):
            attempt.ended[name] = attempt.ended.get(name, 0) + 1
        done, total = row.done, row.total
        if name == "eval_progress_observed":
            done = number_of(detail, "completed")
        if done is None or not math.isfinite(done):
            if total is not None and math.isfinite(total):
                attempt.total = total
            return
        attempt.done = done
        attempt.total = total if total is not None and math.isfinite(total) else attempt.total
        attempt.unit = text_of(detail, "unit", 20) or attempt.unit
        if now is not None:
            self.recent.extend((now,), (done,))

    def _take_phase(self, name: str, detail: Detail, now: float | None) -> None:
        if now is None:
            return
        if name == "phase":
            self._end_phases(now)
            self._start_phase(text_of(detail, "phase", 60) or "?", now)
            return
        stem, _, suffix = name.rpartition("_")
        if suffix == "start" and name not in OPENING:
            self._start_phase(stem, now)
        elif suffix in ("done", "exit", "skipped", "skip", "complete") and stem in self.attempt.phases:
            self._end_phase(self.attempt.phases[stem], now)

    def _start_phase(self, name: str, now: float) -> None:
        phases = self.attempt.phases
        if name in phases or len(phases) < MAX_NAMES:
            phases.setdefault(name, Phase()).since = now

    def _end_phases(self, now: float) -> None:
        for phase in self.attempt.phases.values():
            self._end_phase(phase, now)

    @staticmethod
    def _end_phase(phase: Phase, now: float) -> None:
        if phase.since is not None:
            phase.count += 1
            phase.seconds += max(0.0, now - phase.since)
            phase.since = None

    def _take_validation(self, row: Row, detail: Detail, now: float | None) -> None:
        value = number_of(detail, "val_loss")
        if value is None or not math.isfinite(value):
            return
        x = next((x for x in (row.global_step, row.step, number_of(detail, "epoch")) if x is not None), 0.0)
        self.curves.setdefault("val", Curve()).append(x, value, now or 0.0)
        self.best_val = value if self.best_val is None else min(self.best_val, value)

    def _take_end(self, name: str, detail: Detail, now: float | None) -> None:
        attempt = self.attempt
        status = text_of(detail, "status", 120)
        if name in _GOOD_ENDS:
            words = set((status or "").lower().replace("-", "_").replace(" ", "_").split("_"))
            was_bad = attempt.terminal == "failed" and name == "complete" and not words & _GOOD_WORDS
            attempt.terminal = "failed" if words & _BAD_WORDS or was_bad else "complete"
            attempt.reason = attempt.reason if was_bad else status or ""
        elif name in _BAD_ENDS or name.startswith("blocked_"):
            attempt.terminal = "failed"
            attempt.reason = text_of(detail, "error") or text_of(detail, "reason") or status or name
        elif name.endswith("_exit") and number_of(detail, "returncode") not in (None, 0):
            attempt.terminal = "failed"
            attempt.reason = f"{name} with return code {number_of(detail, 'returncode'):g}"
        else:
            return
        if now is not None:
            self._end_phases(now)

    def _take_error(self, detail: Detail) -> None:
        self.errors += 1
        error = SampleError(*(text_of(detail, key) or "" for key in ("sample_id", "error_type", "error")))
        self.last_errors = [*self.last_errors, error][-MAX_ERRORS:]

    # -- rows that come in thousands -----------------------------------------------------------------

    def _measure(self, name: str, measure: Measure, run: list[Row]) -> None:
        number = len(run)
        self._tell_times(run)
        self._vote_for_run(name, run)
        attempt = self.attempt
        attempt.ended[name] = attempt.ended.get(name, 0) + number
        reached = _column(run, measure.done)
        values = _column(run, measure.value)
        self._take_reached(run, reached)
        self._take_totals(name, run)
        if measure.curve == "bytes":
            values = self._accumulate(name, run, values)
        elif measure.curve == "loss":
            self._take_losses(run, values)
        self._draw(measure.curve, run, reached, values)
        self.last_event = name

    def _tell_times(self, run: list[Row]) -> None:
        if self.first_time is None:
            self.first_time = next((t for row in run if (t := clock(row)) is not None), None)
        last = next((t for row in reversed(run) if (t := clock(row)) is not None), None)
        if last is not None:
            self.last_time = last

    def _vote_for_run(self, name: str, run: list[Row]) -> None:
        family = vote(name, {})
        if name == "train_step":  # the attempt's first step tells whose it is
            cosmos = self.attempt.facts.setdefault("cosmos", float(run[0].rank0_loss is not None))
            family = "fd_train" if cosmos else "train"
        self._vote(family, len(run))

    def _take_reached(self, run: list[Row], reached: Sequence[float | None]) -> None:
        known = [v for v in reached if v is not None] if None in reached else reached
        if known:
            highest = max(cast("Sequence[float]", known))
            done = self.attempt.done
            if math.isfinite(highest):
                self.attempt.done = highest if done is None else max(done, highest)
            _extend(self.recent, run, reached)

    def _take_totals(self, name: str, run: list[Row]) -> None:
        attempt = self.attempt
        if name == "sample_done":
            planned = next(
                (v for v in map(_PLANNED, reversed(run)) if v is not None and math.isfinite(v)), None
            )
            if planned is not None:
                attempt.facts["num_eval_samples"] = planned
        if run[-1].done is not None:
            total = next((v for v in map(_TOTAL, reversed(run)) if v is not None and math.isfinite(v)), None)
            attempt.total = attempt.total if total is None else total

    def _accumulate(
        self, name: str, run: list[Row], values: Sequence[float | None]
    ) -> Sequence[float | None]:
        moved = self.attempt.moved.get(name, 0.0)
        sums: list[float | None] = []
        for value in values:
            moved += value if value is not None and math.isfinite(value) else 0.0
            sums.append(moved)
        self.attempt.moved[name] = moved
        _extend(self.flows.setdefault(name, Recent()), run, sums)
        return sums

    def _take_losses(self, run: list[Row], values: Sequence[float | None]) -> None:
        if None in values:  # null means lost to NaN where the writer says so, else the row has no loss
            values = [
                math.nan if v is None and row.nonfinite else v for v, row in zip(values, run, strict=True)
            ]
        known = [v for v in values if v is not None] if None in values else values
        finite = known if math.isfinite(sum(known)) else [v for v in known if math.isfinite(v)]
        self.nonfinite += len(known) - len(finite)
        if known:
            self.last_loss = known[-1] if math.isfinite(known[-1]) else None
        if finite:
            lowest = min(finite)
            self.min_loss = lowest if self.min_loss is None else min(self.min_loss, lowest)

    def _draw(
        self, curve_name: str, run: list[Row], reached: Sequence[float | None], values: Sequence[float | None]
    ) -> None:
        curve = self.curves.get(curve_name)
        if curve is None:
            curve = self.curves.setdefault(curve_name, Curve())
        wanted = curve.wanted(len(run))
        first = curve.count
        ys = [math.nan if y is None else y for y in values[wanted]]
        xs = [
            x if x is not None else float(first + i)
            for i, x in zip(_numbers(wanted), reached[wanted], strict=True)
        ]
        ts = [t or 0.0 for t in clocks(run[wanted])]
        last_x = reached[-1] if reached[-1] is not None else float(first + len(run) - 1)
        last_y = math.nan if values[-1] is None else values[-1]
        curve.extend(len(run), (xs, ys, ts), (last_x, last_y, clock(run[-1]) or 0.0))


def _numbers(wanted: slice) -> range:
    return range(wanted.start, wanted.stop, wanted.step)


def _extend(recent: Recent, run: list[Row], values: Sequence[float | None]) -> None:
    times, newest = clocks(run[-RECENT_POINTS:]), values[-RECENT_POINTS:]
    points = [(t, y) for t, y in zip(times, newest, strict=True) if t is not None and y is not None]
    recent.extend([t for t, _ in points], [y for _, y in points])


def _column(run: list[Row], fields: tuple[str, ...]) -> Sequence[float | None]:
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

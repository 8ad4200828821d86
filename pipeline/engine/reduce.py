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
from collections.abc import Sequence
from operator import attrgetter
from typing import cast

import msgspec

from pipeline.engine.attempt import MAX_OPENINGS, OPENING, Attempt
from pipeline.engine.events import NAME_CHARS, Batch, Detail, Row, clock, number_of, text_of
from pipeline.engine.families import vote
from pipeline.engine.measure import (
    MEASURES,
    Column,
    Measure,
    add_curve,
    add_recent,
    column,
    has_gaps,
    running_sum,
)
from pipeline.engine.rings import Curve, Recent

#: Most event names told apart; further ones are counted under one name.
MAX_NAMES = 256
OTHER = "(other)"
MAX_ERRORS = 20

#: `*_start` events of units of work; a log that begins with one does not begin again with the next.
_UNIT_STARTS = frozenset(
    {"download_start", "file_start", "rsync_start", "chunk_transfer_start", "shard_start"}
)

#: Fields that name other runs than the log's own.
_ROLES = ("dataset_run_id", "train_run_id", "eval_run_id", "eval_smoke_run_id")

#: Which run a row speaks of when it has no `run_id`, best first.
_RUN_KEYS = ("run_id", "train_run_id", "eval_run_id", "dataset_run_id")
_PACKAGE_RUN_KEYS = ("run_id", "eval_run_id", "train_run_id", "dataset_run_id")
_PIPELINE_RUN_KEYS = ("run_id", "dataset_run_id")

_SEQ = attrgetter("seq")
_TOTAL = attrgetter("total")
_PLANNED = attrgetter("num_eval_samples")


class SampleError(msgspec.Struct, frozen=True):
    """One failed sample: where and what."""

    sample_id: str
    error_type: str
    error: str


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
        curves: whole-life curves `loss`, `seconds`, `val`, and of bytes by the event that reports them.
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
        for event, run in batch.runs():
            name = event[:NAME_CHARS]
            self._count(name, len(run))
            measure = MEASURES.get(name)
            if measure is None or restarted:
                for row in run:
                    self._single(name, row, batch.detail(index), measure)
                    index += 1
            else:
                if self.run_id is None or (name == "train_step" and self.attempt.cosmos is None):
                    self._look_closer(name, batch.detail(index))
                self._measure(name, measure, run)
                index += len(run)
            self.last_event = name

    def _count(self, name: str, number: int) -> None:
        if name not in self.counts and len(self.counts) >= MAX_NAMES:
            name = OTHER
        self.counts[name] = self.counts.get(name, 0) + number
        self.rows += number

    def _vote(self, family: str | None, number: int = 1) -> None:
        if family is not None and number:
            self.votes[family] = self.votes.get(family, 0) + number

    # -- single rows ---------------------------------------------------------------------------------

    def _single(self, name: str, row: Row, detail: Detail, measure: Measure | None) -> None:
        self._notice_attempt(name, row, detail)
        if measure is not None:
            self._look_closer(name, detail)
            self._measure(name, measure, [row])
            return
        now = self._tell_time(row)
        self._vote(vote(name, detail))
        self._take_run_id(name, detail)
        attempt = self.attempt
        attempt.take_facts(name, detail)
        if attempt.take_progress(name, row, detail) and now is not None and attempt.done is not None:
            self.recent.extend((now,), (attempt.done,))
        attempt.take_phase(name, detail, now)
        attempt.take_end(name, detail, now)
        self._take_validation(row, detail, now)
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
        key = name
        if name in ("phase", "batch_start"):
            key = f"{name}:{detail.get('phase', detail.get('batch'))}"
        if self.last_event is None and _may_open(name):
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
        keys: tuple[str, ...] = _RUN_KEYS
        if vote(name, detail) == "package_watcher":
            keys = _PACKAGE_RUN_KEYS
        elif name.startswith("cosmos3_"):
            keys = _PIPELINE_RUN_KEYS
        found = next((text for key in keys if (text := text_of(detail, key))), None)
        self.run_id = found or self.run_id

    def _look_closer(self, name: str, detail: Detail) -> None:
        """What the first of many equal rows tells beside its measured values."""
        self._take_run_id(name, detail)
        if name == "train_step" and self.attempt.cosmos is None:
            self.attempt.take_first_step(detail)

    def _take_validation(self, row: Row, detail: Detail, now: float | None) -> None:
        value = number_of(detail, "val_loss")
        if value is None or not math.isfinite(value):
            return
        x = next((x for x in (row.global_step, row.step, number_of(detail, "epoch")) if x is not None), 0.0)
        self.curves.setdefault("val", Curve()).append(x, value, now or 0.0)
        self.best_val = value if self.best_val is None else min(self.best_val, value)

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
        reached = column(run, measure.done)
        values = column(run, measure.value)
        self._take_reached(run, reached)
        self._take_totals(name, run)
        if measure.curve == "bytes":
            values = self._accumulate(name, run, values)
        elif measure.curve == "loss":
            self._take_losses(run, values)
        curve = name if measure.curve == "bytes" else measure.curve
        add_curve(self.curves.setdefault(curve, Curve()), run, reached, values)
        self.last_event = name

    def _tell_times(self, run: list[Row]) -> None:
        if self.first_time is None:
            self.first_time = next((t for row in run if (t := clock(row)) is not None), None)
        last = next((t for row in reversed(run) if (t := clock(row)) is not None), None)
        if last is not None:
            self.last_time = last

    def _vote_for_run(self, name: str, run: list[Row]) -> None:
        family = vote(name, {})
        if name == "train_step":
            family = "fd_train" if self.attempt.cosmos else "train"
        self._vote(family, len(run))

    def _take_reached(self, run: list[Row], reached: Column) -> None:
        known = [v for v in reached if v is not None] if has_gaps(reached) else reached
        if known:
            highest = max(cast("Sequence[float]", known))
            done = self.attempt.done
            if math.isfinite(highest):
                self.attempt.done = highest if done is None else max(done, highest)
            add_recent(self.recent, run, reached)

    def _take_totals(self, name: str, run: list[Row]) -> None:
        attempt = self.attempt
        if name == "sample_done":
            planned = next(
                (v for v in map(_PLANNED, reversed(run)) if v is not None and math.isfinite(v)), None
            )
            if planned is not None:
                attempt.facts["num_eval_samples"] = planned
        if run[-1].done is not None and "done" in MEASURES[name].done:
            total = next((v for v in map(_TOTAL, reversed(run)) if v is not None and math.isfinite(v)), None)
            attempt.total = attempt.total if total is None else total

    def _accumulate(self, name: str, run: list[Row], values: Column) -> Column:
        sums = running_sum(values, self.attempt.moved.get(name, 0.0))
        self.attempt.moved[name] = sums[-1]
        add_recent(self.flows.setdefault(name, Recent()), run, sums)
        return sums

    def _take_losses(self, run: list[Row], values: Column) -> None:
        gaps = has_gaps(values)
        if gaps:  # null means lost to NaN where the writer says so, else the row has no loss
            values = [
                math.nan if v is None and row.nonfinite else v for v, row in zip(values, run, strict=True)
            ]
        known = [v for v in values if v is not None] if gaps else cast("Sequence[float]", values)
        finite = known if math.isfinite(sum(known)) else [v for v in known if math.isfinite(v)]
        self.nonfinite += len(known) - len(finite)
        if known:
            self.last_loss = known[-1] if math.isfinite(known[-1]) else None
        if finite:
            lowest = min(finite)
            self.min_loss = lowest if self.min_loss is None else min(self.min_loss, lowest)


def _may_open(name: str) -> bool:
    """Whether a log that begins with this event begins again when it recurs."""
    return name == "phase" or (name.endswith("_start") and name not in _UNIT_STARTS)

"""What the rest of the program sees of a log: one immutable value per log.

Screens, `xops watch` and the adopted runs read `LogView`s; none of them knows rows or reducers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath

import msgspec

from pipeline.engine.attempt import Terminal
from pipeline.engine.families import Family, family_of, stage_of_path
from pipeline.engine.reduce import Reducer, SampleError
from pipeline.engine.rings import Curve

_UNITS: Mapping[Family, str] = {
    "train": "step",
    "fd_train": "step",
    "eval": "sample",
    "fd_eval": "sample",
    "future_window": "sample",
    "package_watcher": "sample",
    "pipeline": "phase",
}

#: Families whose count starts at zero with the first row, not unknown.
_COUNTED = frozenset({"train", "fd_train", "eval", "fd_eval", "future_window"})

#: Events that finish a file or chunk, and what to call the unit; the first group present is counted.
_FINISHED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("file_done", "skip_existing", "split_transfer_done", "direct_transfer_done"), "file"),
    (("download_done",), "file"),
    (("chunk_done",), "chunk"),
    (("chunk_downloaded",), "chunk"),
)

#: Events that report bytes, finest first; coarser ones would count the same bytes again.
_MOVED = (
    ("chunk_done",),
    ("chunk_downloaded",),
    ("file_done", "split_transfer_done", "direct_transfer_done"),
    ("download_done",),
)

#: Directories that hold parts of a run, not the run itself.
_PARTS = frozenset({"training", "train", "eval", "evaluation", "dataset", "validation", "analysis", "logs"})


class PhaseView(msgspec.Struct, frozen=True):
    """One phase of the current attempt: how often it ended, seconds in all, and since when it runs."""

    name: str
    count: int
    seconds: float
    since: float | None


class CurveView(msgspec.Struct, frozen=True):
    """Points of a curve: x, y and Unix seconds; the newest point is always the last."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    ts: tuple[float, ...]


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one log.

    Attributes:
        path: relative to the root it was found under, with `/`; not decodable bytes replaced.
        root: that root.
        family: kind of log.
        run_id: the run its rows name; if none does, the one its place suggests.
        rows, bad_lines: JSON rows, and lines that are neither rows nor blank.
        terminal, reason: how the current attempt ended (`none`: it did not), and its status or cause.
        attempts: how many the log holds.
        first_time, last_time: Unix seconds of the first and last row.
        last_event: name of the last row.
        done, total, unit: progress of the current attempt; None where unknown.
        last_loss, min_loss, nonfinite: newest loss (None if not finite), smallest, how many were not finite.
        last_val, best_val: validation losses.
        size, pending: bytes in the file, and bytes after its last newline.
        resets: how often the file was truncated or replaced while it was followed.
        problem: why the file cannot be read now; empty if it can.
        rate, eta_s, eta_low_s, eta_high_s: units per second lately; seconds left: expected and band.
        bytes_done, bytes_per_s: for logs that move bytes.
        phase, phase_since: the phase that runs now.
        phases: all phases of the attempt.
        errors, last_errors: failed samples.
        counts: rows by event name.
        facts: numbers the attempt announced (`num_processes`, `process_index`, `sample_stride`, ...).
        names: runs the rows name in a role (`train_run_id`, `eval_run_id`, `dataset_run_id`, ...).
        curves: `loss`, `val`, `seconds`, `bytes`; empty unless asked for.
    """

    path: str
    root: str
    family: Family
    run_id: str
    rows: int
    bad_lines: int
    terminal: Terminal
    reason: str
    attempts: int
    first_time: float | None
    last_time: float | None
    last_event: str | None
    done: int | float | None
    total: int | float | None
    unit: str | None
    last_loss: float | None
    min_loss: float | None
    nonfinite: int
    last_val: float | None
    best_val: float | None
    size: int
    pending: int
    resets: int
    problem: str
    rate: float | None
    eta_s: float | None
    eta_low_s: float | None
    eta_high_s: float | None
    bytes_done: int | None
    bytes_per_s: float | None
    phase: str | None
    phase_since: float | None
    phases: tuple[PhaseView, ...]
    errors: int
    last_errors: tuple[SampleError, ...]
    counts: dict[str, int]
    facts: dict[str, float]
    names: dict[str, str]
    curves: dict[str, CurveView] = {}


def view_of(
    reducer: Reducer,
    path: PurePath,
    root: PurePath,
    *,
    size: int = 0,
    pending: int = 0,
    resets: int = 0,
    problem: str = "",
    curves: bool = False,
) -> LogView:
    """The view of one log whose file is `root / path`."""
    attempt = reducer.attempt
    family = family_of(reducer.votes, root / path)
    done, unit = _done(reducer, family)
    total = _total(reducer, family)
    rate, eta, low, high = _pace(reducer, done, total)
    moved, speed = _flow(reducer)
    phase = _running_phase(reducer)
    val = reducer.curves.get("val")
    return LogView(
        path=printable(path),
        root=printable(root),
        family=family,
        run_id=reducer.run_id or run_id_of_path(root / path),
        rows=reducer.rows,
        bad_lines=reducer.bad_lines,
        terminal=attempt.terminal,
        reason=attempt.reason,
        attempts=reducer.attempts,
        first_time=reducer.first_time,
        last_time=reducer.last_time,
        last_event=reducer.last_event,
        done=_whole(done),
        total=_whole(total),
        unit=unit if done is not None or total is not None else None,
        last_loss=reducer.last_loss,
        min_loss=reducer.min_loss,
        nonfinite=reducer.nonfinite,
        last_val=val.last[1] if val and val.last else None,
        best_val=reducer.best_val,
        size=size,
        pending=pending,
        resets=resets,
        problem=problem,
        rate=rate,
        eta_s=eta,
        eta_low_s=low,
        eta_high_s=high,
        bytes_done=moved,
        bytes_per_s=speed,
        phase=phase[0] if phase else None,
        phase_since=phase[1] if phase else None,
        phases=tuple(PhaseView(n, p.count, p.seconds, p.since) for n, p in attempt.phases.items()),
        errors=reducer.errors,
        last_errors=tuple(reducer.last_errors),
        counts=dict(reducer.counts),
        facts=dict(attempt.facts),
        names=dict(reducer.names),
        curves=curves_of(reducer) if curves else {},
    )


def curves_of(reducer: Reducer) -> dict[str, CurveView]:
    """Copies of the curves, each ending with its newest point; points that are not finite are left out."""
    names: tuple[str, ...] = ("loss", "val", "seconds")
    found = {name: _curve(reducer.curves[name]) for name in names if name in reducer.curves}
    finest = next((name for names in _MOVED for name in names if name in reducer.curves), None)
    if finest is not None:
        found["bytes"] = _curve(reducer.curves[finest])
    return found


def _curve(curve: Curve) -> CurveView:
    points = list(zip(curve.xs, curve.ys, curve.ts, strict=True))
    if curve.last is not None and (curve.count - 1) % curve.stride:
        points.append(curve.last)
    points = [point for point in points if all(map(math.isfinite, point))]
    xs, ys, ts = zip(*points, strict=True) if points else ((), (), ())
    return CurveView(xs, ys, ts)


def run_id_of_path(path: PurePath) -> str:
    """The run a log belongs to by its place: `runs/<id>/...` is ours, else its own nearest directory."""
    parts = path.parent.parts
    if stage_of_path(path) is not None:
        return printable(PurePath(parts[parts.index("stages") - 1 if "stages" in parts else -2]))
    for part in reversed(parts):
        if part not in _PARTS and part != "/":
            return printable(PurePath(part))
    return printable(PurePath(path.stem))


def printable(path: PurePath) -> str:
    """A path as text that any output accepts."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _whole(value: float | None) -> int | float | None:
    return int(value) if value is not None and value == int(value) else value


def _done(reducer: Reducer, family: Family) -> tuple[float | None, str | None]:
    attempt = reducer.attempt
    unit = attempt.unit or _UNITS.get(family)
    if attempt.done is not None:
        return attempt.done, unit
    if family in _COUNTED and reducer.rows:
        return 0, unit
    if family == "pipeline":
        phases = sum(phase.count for phase in attempt.phases.values())
        return max(phases, sum(attempt.ended.values())), unit
    for names, finished_unit in _FINISHED:
        finished = sum(attempt.ended.get(name, 0) for name in names)
        if finished or (family in ("relay", "transfer") and finished_unit == "chunk"):
            return finished, finished_unit if finished else "file"
    return None, unit


def _total(reducer: Reducer, family: Family) -> float | None:
    """The planned amount; for training the smaller of epochs x samples per rank and the step limit."""
    attempt, facts = reducer.attempt, reducer.attempt.facts
    if attempt.total is not None:
        return attempt.total
    if family == "train":
        limits = [facts["max_steps"]] if facts.get("max_steps", 0) > 0 else []
        if facts.get("epochs", 0) > 0 and facts.get("rank_samples", 0) > 0:
            limits.append(facts["epochs"] * math.ceil(facts["rank_samples"] / attempt.batch_size))
        return min(limits, default=None)
    if family in ("eval", "fd_eval", "future_window"):
        return facts.get("num_eval_samples")
    return None


def _pace(
    reducer: Reducer, done: float | None, total: float | None
) -> tuple[float | None, float | None, float | None, float | None]:
    """(rate, eta, shortest eta, longest eta); the eta only while something is left to do."""
    rates = reducer.recent.rates()
    if rates is None:
        return None, None, None, None
    low, mean, high = rates
    left = total - done if total is not None and done is not None else 0
    if left <= 0 or reducer.attempt.terminal != "none":
        return mean, None, None, None
    return mean, left / mean, left / high, left / low if low > 0 else None


def _flow(reducer: Reducer) -> tuple[int | None, float | None]:
    moved = reducer.attempt.moved
    for names in _MOVED:
        present = [name for name in names if name in moved]
        if present:
            speeds = [rates[1] for name in present if (rates := reducer.flows[name].rates())]
            return int(sum(moved[name] for name in present)), max(speeds, default=None)
    return None, None


def _running_phase(reducer: Reducer) -> tuple[str, float] | None:
    running = [(p.since, name) for name, p in reducer.attempt.phases.items() if p.since is not None]
    if not running:
        return None
    since, name = max(running)
    return name, since

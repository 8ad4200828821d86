"""What a screen shows of one run, as plain values: every stage with its progress, and what needs a human.

Front ends draw a `RunSnapshot` and nothing else. It is built from the run's files, from the views of its
logs, or from a foreign tree of logs (`of_adopted`), which then is read-only.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.engine.adopt import AdoptedRun, AdoptedStage
from pipeline.engine.claim import spoken_seconds
from pipeline.engine.gates import Verdict
from pipeline.engine.logview import LogView
from pipeline.engine.paths import RunPaths
from pipeline.engine.plan import Step, plan
from pipeline.engine.procfs import host
from pipeline.engine.registry import Registry
from pipeline.engine.state import AttemptInfo, StageState, StageStatus
from pipeline.engine.status import RunStatus, list_parts, read_run

Views = Callable[[Path], LogView | None]

#: Seconds without a row after which a foreign log that has no end counts as stalled.
FOREIGN_QUIET_S = 300.0


class Row(Struct, frozen=True, kw_only=True):
    """One stage as a screen shows it.

    Attributes:
        status: its state, history and gate.
        done, total, unit: progress; None where unknown. Of shards the sum.
        rate: units per second while it runs.
        eta_s, eta_low_s, eta_high_s: seconds left: expected, shortest, longest; None unless it runs.
        phase: what it does now; empty if it does not say.
        last_event, last_time: newest row of its logs, Unix seconds.
        errors: rows that failed.
        logs: paths of its event logs.
    """

    status: StageStatus
    done: int | float | None = None
    total: int | float | None = None
    unit: str = ""
    rate: float | None = None
    eta_s: float | None = None
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    phase: str = ""
    last_event: str = ""
    last_time: float | None = None
    errors: int = 0
    logs: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.status.stage


class Need(Struct, frozen=True, kw_only=True):
    """Something only a person can decide.

    Attributes:
        stage: where.
        sentence: what is wrong, in one line.
        argv: the command that deals with it; for gates `--why` is left to the person.
    """

    stage: str
    sentence: str
    argv: tuple[str, ...]


class Disk(Struct, frozen=True, kw_only=True):
    """A volume: bytes free and in all."""

    path: str
    free: int
    total: int


class RunSnapshot(Struct, frozen=True, kw_only=True):
    """A run at one moment.

    Attributes:
        run_id, recipe, kind: which one; a foreign tree has neither recipe nor kind.
        created: Unix seconds; None for a foreign tree.
        host: the host that looked.
        rows: stages in order.
        needs_human: in the order of the stages.
        steps: what a start would do.
        conductor: who starts the following stages; empty if nobody does.
        disks: volumes that the run writes to.
        foreign: whether it is somebody else's tree of logs, which nothing here may change.
    """

    run_id: str
    recipe: str = ""
    kind: str = ""
    created: float | None = None
    host: str = ""
    rows: tuple[Row, ...] = ()
    needs_human: tuple[Need, ...] = ()
    steps: tuple[Step, ...] = ()
    conductor: str = ""
    disks: tuple[Disk, ...] = ()
    foreign: bool = False

    def row(self, stage: str) -> Row | None:
        """The row of a stage; None if the run has none of that name."""
        return next((row for row in self.rows if row.stage == stage), None)


def take_snapshot(run: RunPaths, registry: Registry, views: Views) -> RunSnapshot:
    """Read a run.

    Args:
        run: which run.
        registry: what its stages are.
        views: the view of a log by its path, None for a log nobody has read.

    Raises:
        NotFoundError, ConfigError, UsageError: as `read_run`.
    """
    status = read_run(run, registry)
    request = status.request
    return RunSnapshot(
        run_id=run.run_id,
        recipe=request.recipe,
        kind=request.kind,
        created=request.created,
        host=host(),
        rows=tuple(_row(run, status, found, views) for found in status.stages),
        needs_human=tuple(needs_of(status)),
        steps=tuple(plan(status.stages, registry.stages)),
        conductor="" if status.conductor is None else f"pid {status.conductor.pid}",
        disks=_disks([run.root]),
    )


def of_adopted(run: AdoptedRun, *, now: float | None = None) -> RunSnapshot:
    """A foreign run in the same shape; its states are what its logs say and their age, no more."""
    moment = time.time() if now is None else now
    return RunSnapshot(
        run_id=run.run_id,
        created=run.first_time,
        rows=tuple(_adopted_row(run, stage, moment) for stage in run.stages),
        foreign=True,
        host=host(),
    )


def needs_of(status: RunStatus) -> Iterator[Need]:
    """What of a run waits for a person, each with the command that goes on."""
    for found in status.stages:
        need = _need(found)
        if need is not None:
            yield need


def _need(found: StageStatus) -> Need | None:
    run_id, stage = found.run_id, found.stage
    restart = ("xops", "run", "resume", run_id, "--only", stage)
    match found.state:
        case StageState.FAILED | StageState.LOST:
            return Need(stage=stage, sentence=_sentence(found), argv=restart)
        case StageState.ORPHANED:
            argv = ("xops", "run", "reap", run_id, "--stage", stage)
            return Need(stage=stage, sentence=_sentence(found), argv=argv)
        case StageState.STALLED:
            return Need(stage=stage, sentence=_sentence(found), argv=("xops", "stage", "log", run_id, stage))
    if found.state is not StageState.SUCCEEDED or found.verdict is None or found.verdict.open:
        return None
    verb = "sign" if found.verdict is Verdict.UNSIGNED else "waive"
    owner = found.taken_from or run_id
    sentence = f"gate {found.verdict}: {_open_checks(found)}"
    return Need(stage=stage, sentence=sentence, argv=("xops", "gate", verb, owner, stage, "--why", "..."))


def _sentence(found: StageStatus) -> str:
    return f"{found.state}: {found.reason}" if found.reason else str(found.state)


def _open_checks(found: StageStatus) -> str:
    gates = [part.gate for part in found.shards or (found,) if part.gate is not None]
    details = [check.detail for gate in gates for check in gate.checks if check.ok is not True]
    return "; ".join(details) or "it has not passed"


def _row(run: RunPaths, status: RunStatus, found: StageStatus, views: Views) -> Row:
    parts = list_parts(status.request, run, found.stage)
    logs = [view for paths, _ in parts if (view := views(paths.progress)) is not None]
    heard = [view for paths, _ in parts if (view := views(paths.events)) is not None]
    row = _merged(found, logs, known=len(logs) == len(parts))
    newest = max(logs or heard, key=lambda view: view.last_time or 0.0, default=None)
    paths_of = tuple(str(path) for paths, _ in parts for path in (paths.events, paths.progress))
    row = msgspec.structs.replace(row, logs=paths_of)
    if newest is None:
        return row
    return msgspec.structs.replace(row, last_event=newest.last_event or "", last_time=newest.last_time)


def _merged(found: StageStatus, logs: list[LogView], *, known: bool) -> Row:
    """Progress of all parts together; time left only while it runs, and of shards the longest."""
    if not logs:
        return Row(status=found)
    live = [view for view in logs if view.eta_s is not None] if found.state.active else []
    return Row(
        status=found,
        done=_total(view.done for view in logs),
        total=_total(view.total for view in logs) if known else None,
        unit=next((view.unit for view in logs if view.unit), ""),
        rate=_total(view.rate for view in logs) if found.state.active else None,
        eta_s=max((view.eta_s for view in live if view.eta_s is not None), default=None),
        eta_low_s=max((view.eta_low_s for view in live if view.eta_low_s is not None), default=None),
        eta_high_s=max((view.eta_high_s for view in live if view.eta_high_s is not None), default=None),
        phase=next((view.phase for view in logs if view.phase), ""),
        errors=sum(view.errors for view in logs),
    )


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _adopted_row(run: AdoptedRun, stage: AdoptedStage, now: float) -> Row:
    last = max(stage.logs, key=lambda log: log.last_time or 0.0)
    age = max(0.0, now - (last.last_time or 0.0))
    state, reason = _adopted_state(stage, last.reason, age)
    number = max(log.attempts for log in stage.logs)
    attempt = AttemptInfo(
        number=number,
        started=min((log.first_time for log in stage.logs if log.first_time is not None), default=None),
        ended=last.last_time if stage.terminal != "none" else None,
        outcome={"complete": "done", "failed": "failed"}.get(stage.terminal, ""),
        message=last.reason,
    )
    status = StageStatus(
        run_id=run.run_id, stage=_adopted_name(run, stage), state=state, reason=reason, attempts=(attempt,)
    )
    return Row(
        status=status,
        done=stage.done,
        total=stage.total,
        unit=stage.unit or "",
        rate=last.rate if state is StageState.RUNNING else None,
        eta_s=last.eta_s if state is StageState.RUNNING else None,
        eta_low_s=last.eta_low_s if state is StageState.RUNNING else None,
        eta_high_s=last.eta_high_s if state is StageState.RUNNING else None,
        phase=last.phase or "",
        last_event=last.last_event or "",
        last_time=last.last_time,
        errors=sum(log.errors for log in stage.logs),
        logs=tuple(str(Path(log.root) / log.path) for log in stage.logs),
    )


def _adopted_name(run: AdoptedRun, stage: AdoptedStage) -> str:
    """The stage's name, with the id of its own rows where several share the name."""
    same = [other for other in run.stages if other.name == stage.name]
    return stage.name if len(same) == 1 else f"{stage.name} {stage.run_id}"


def _adopted_state(stage: AdoptedStage, reason: str, age: float) -> tuple[StageState, str]:
    if stage.terminal == "complete":
        return StageState.SUCCEEDED, "its log says complete"
    if stage.terminal == "failed":
        return StageState.FAILED, reason or "its log says failed"
    if age > FOREIGN_QUIET_S:
        return StageState.STALLED, f"its log has no end; nothing was written for {spoken_seconds(age)}"
    return StageState.RUNNING, "its log is still written"


def _disks(paths: Iterable[Path]) -> tuple[Disk, ...]:
    found = []
    for path in paths:
        try:
            usage = shutil.disk_usage(path)
        except OSError:
            continue
        found.append(Disk(path=str(path), free=usage.free, total=usage.total))
    return tuple(found)

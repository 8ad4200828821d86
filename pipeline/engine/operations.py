"""What an operator can do to a run: start, cancel, reap, invalidate, wait.

Front ends call these and nothing else. Every act is one line in the run's journal, whether it worked or
not; with `dry_run` it says what it would do, changes nothing and writes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Sequence

import msgspec

from pipeline.engine.acts import Act, part_name, parts_of, recorded
from pipeline.engine.claim import Claim, holder
from pipeline.engine.errors import (
    BusyError,
    DamagedFileError,
    GateError,
    NoPermissionError,
    NotReadyError,
    UnreachableError,
    WaitTimedOutError,
)
from pipeline.engine.files import publish_json
from pipeline.engine.fingerprint import read_inputs
from pipeline.engine.launch import Handoff, launch, stage_argv
from pipeline.engine.outputs import TakenFrom, set_aside
from pipeline.engine.paths import RunPaths, StagePaths
from pipeline.engine.plan import Action, Step, plan
from pipeline.engine.procfs import host
from pipeline.engine.records import read_process
from pipeline.engine.registry import Registry
from pipeline.engine.state import StageState, StageStatus
from pipeline.engine.status import RunStatus, list_parts, read_run
from pipeline.exec.base import Executor, Job
from pipeline.exec.local import LocalExecutor

#: Seconds the conductor gets to end after SIGTERM; it only waits for others.
_CONDUCTOR_GRACE_S = 5.0

#: How often `wait` looks, in seconds.
_POLL_S = 0.2

#: What belongs to one answer of a stage and moves aside together.
_ANSWER = ("out", "outputs.json", "inputs.json", "gate.json", "work", "taken_from.json")


def start(
    run: RunPaths,
    registry: Registry,
    *,
    until: str = "",
    only: Collection[str] = (),
    shards: Collection[int] = (),
    dry_run: bool = False,
    executor: Executor | None = None,
    who: str = "",
) -> Act:
    """Start or resume whatever the plan allows now; a conductor does the rest, stage after stage.

    Args:
        run: which run.
        registry: its stages.
        until: go on to this stage; by default to the end.
        only: exactly these stages.
        shards: of a split stage named by `only`, exactly these shards.
        dry_run: only plan.
        executor: where; this machine by default.
        who: for the journal; by default the user of this process.

    Raises:
        BusyError: nothing is due because the stages already run.
        GateError: nothing is due because a gate is closed.
        NotReadyError: nothing is due because something needed is not done, or everything is done.
    """
    with recorded(run, "start", dry_run, who, ",".join(only) or until) as detail:
        status, steps = _planned(run, registry, until, only)
        due = _require_due(run, status, steps)
        message = ", ".join(f"{step.action} {step.stage}" for step in steps if step.works)
        if dry_run:
            return Act(verb="start", run_id=run.run_id, dry_run=True, message=message, steps=tuple(steps))
        if status.conductor is not None and any(step.works and not step.due for step in steps):
            who_conducts = f"the conductor of {run.run_id} is at work already, {status.conductor}"
            raise BusyError(who_conducts, hint=f"xops run wait {run.run_id}, or xops run cancel {run.run_id}")
        shown = tuple(steps)
        while due and all(step.action is Action.TAKE_OVER for step in due):
            do_steps(run, registry, status, due)
            status, steps = _planned(run, registry, until, only)
            due = [step for step in steps if step.due]
        handoffs = do_steps(run, registry, status, due, shards=shards, executor=executor)
        more = any(step.works and not step.due for step in steps)
        conductor = _conduct(run, until, only) if more else None
        detail.update(started=[f"{h.stage}#{h.attempt}" for h in handoffs], conductor=conductor is not None)
        return Act(
            verb="start",
            run_id=run.run_id,
            dry_run=False,
            message=message,
            steps=shown,
            handoffs=tuple(handoffs),
            conductor=conductor,
        )


def _planned(
    run: RunPaths, registry: Registry, until: str, only: Collection[str]
) -> tuple[RunStatus, list[Step]]:
    status = read_run(run, registry)
    return status, plan(status.stages, registry.stages, until=until, only=only)


def do_steps(
    run: RunPaths,
    registry: Registry,
    status: RunStatus,
    steps: Sequence[Step],
    *,
    shards: Collection[int] = (),
    executor: Executor | None = None,
) -> list[Handoff]:
    """Carry out steps that are due; returns the hand-offs of what was started."""
    executor = executor or LocalExecutor()
    handoffs: list[Handoff] = []
    for step in steps:
        found = status.stage(step.stage)
        if step.action is Action.TAKE_OVER:
            _take_over(run, status, found)
            continue
        if found.state is StageState.STALE:
            _set_aside(run, status, step.stage)
        spec = registry.stage(step.stage)
        for paths, shard in list_parts(status.request, run, step.stage):
            if shard is not None and shard[0] not in (shards or step.shards):
                continue
            argv = tuple(stage_argv(paths, shard))
            handoffs.append(
                executor.submit(Job(paths=paths, argv=argv, grace_s=spec.grace_s, gpus=spec.gpus))
            )
    return handoffs


def cancel(
    run: RunPaths,
    registry: Registry,
    stage: str = "",
    *,
    shards: Collection[int] = (),
    force: bool = False,
    dry_run: bool = False,
    who: str = "",
) -> Act:
    """Ask running attempts to stop; without `stage` all of them and the conductor.

    The stage saves what it has within its grace period. With `force` its processes are killed at once.

    Raises:
        NotReadyError: nothing of that runs.
        UnreachableError: it runs on another host.
    """
    with recorded(run, "cancel", dry_run, who, stage) as detail:
        status = read_run(run, registry)
        targets = [
            (paths, part)
            for found in ([status.stage(stage)] if stage else status.stages)
            for paths, part in parts_of(run, status, found)
            if part.state.active and (not shards or part.shard in shards)
        ]
        conductor = None if stage else status.conductor
        if not targets and conductor is None:
            raise NotReadyError(
                f"nothing of {stage or run.run_id} is running", hint=f"xops run show {run.run_id}"
            )
        names = [part_name(part) for _, part in targets] + ["the conductor"] * (conductor is not None)
        detail.update(targets=names, force=force)
        if not dry_run:
            if conductor is not None and conductor.identity.alive():
                os.kill(conductor.pid, signal.SIGTERM)
            for paths, part in targets:
                _stop(paths, part, force=force)
        message = f"{'killed' if force else 'asked to stop'}: {', '.join(names)}"
        return Act(verb="cancel", run_id=run.run_id, dry_run=dry_run, message=message)


def reap(run: RunPaths, registry: Registry, stage: str, *, dry_run: bool = False, who: str = "") -> Act:
    """Kill the processes that a dead attempt left behind.

    Raises:
        NotReadyError: the stage has no such processes.
    """
    with recorded(run, "reap", dry_run, who, stage) as detail:
        status = read_run(run, registry)
        orphaned = [
            (paths, part)
            for paths, part in parts_of(run, status, status.stage(stage))
            if part.state is StageState.ORPHANED
        ]
        if not orphaned:
            raise NotReadyError(
                f"{stage} left no processes behind", hint=f"xops stage show {run.run_id} {stage}"
            )
        pids = sorted(pid for _, part in orphaned for pid in part.pids)
        detail["pids"] = pids
        if not dry_run:
            for paths, part in orphaned:
                _kill_attempt(paths, part)
        message = f"{'would kill' if dry_run else 'killed'} {len(pids)} processes of {stage}"
        return Act(verb="reap", run_id=run.run_id, dry_run=dry_run, message=message)


def invalidate(run: RunPaths, registry: Registry, stage: str, *, dry_run: bool = False, who: str = "") -> Act:
    """Move a stage's outputs, gate and work aside, so that it can be done again; nothing is deleted.

    Raises:
        NotReadyError: it has nothing to move.
        BusyError: it is running.
    """
    with recorded(run, "invalidate", dry_run, who, stage) as detail:
        status = read_run(run, registry)
        parts = parts_of(run, status, status.stage(stage))
        if not any((paths.root / name).exists() for paths, _ in parts for name in _ANSWER):
            raise NotReadyError(f"{stage} has no outputs", hint=f"xops stage show {run.run_id} {stage}")
        if not dry_run:
            detail["moved_to"] = _set_aside(run, status, stage)
        message = f"{'would move' if dry_run else 'moved'} the outputs of {stage} aside"
        return Act(verb="invalidate", run_id=run.run_id, dry_run=dry_run, message=message)


def wait(run: RunPaths, registry: Registry, stage: str = "", *, timeout_s: float | None = None) -> RunStatus:
    """Return once nothing of the stage runs; without `stage`, nothing of the run and no conductor.

    Raises:
        WaitTimedOutError: something still runs after `timeout_s` seconds; it goes on.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        status = read_run(run, registry)
        busy = [s.stage for s in ([status.stage(stage)] if stage else status.stages) if s.state.active]
        if status.conductor is not None and not stage:
            busy.append("the conductor")
        if not busy:
            return status
        if end is not None and time.monotonic() > end:
            waited = f"{', '.join(busy)} of run {run.run_id} still at work after {timeout_s:g} s"
            raise WaitTimedOutError(waited, hint=f"xops run show {run.run_id}")
        time.sleep(_POLL_S)


def _require_due(run: RunPaths, status: RunStatus, steps: Sequence[Step]) -> list[Step]:
    """The steps that can be done now, or the error that says why there are none."""
    due = [step for step in steps if step.due]
    if due:
        return due
    for step in steps:
        found = status.stage(step.stage)
        where = f"{run.run_id} --stage {step.stage}"
        if found.state is StageState.ORPHANED:
            raise BusyError(f"{step.stage}: {step.reason}", hint=f"xops run reap {where}")
        if step.action is Action.WAIT:
            raise BusyError(f"{step.stage} is {found.state}: {found.reason}", hint=f"xops run cancel {where}")
        if step.action is Action.BLOCKED:
            closed = any(wait.startswith("gate of ") for wait in found.waits_for)
            kind = GateError if closed else NotReadyError
            raise kind(f"{step.stage} is blocked: {step.reason}", hint=f"xops run show {run.run_id}")
    raise NotReadyError(
        f"everything asked for is done already: {', '.join(step.stage for step in steps)}",
        hint=f"xops run invalidate {run.run_id} --stage STAGE, to do one again",
    )


def _conduct(run: RunPaths, until: str, only: Collection[str]) -> Handoff:
    target = ["--until", until] if until else ["--only", ",".join(only)] if only else []
    argv = [sys.executable, "-P", "-m", "pipeline.engine.conductor", str(run.root), *target]
    return launch(run.conductor, argv, grace_s=_CONDUCTOR_GRACE_S)


def _take_over(run: RunPaths, status: RunStatus, found: StageStatus) -> None:
    """Refer to the outputs of another run; of a split stage, for each shard that has such outputs."""
    for paths, part in parts_of(run, status, found):
        if not part.can_take_from:
            continue
        origin = StagePaths(run.root.parent / part.can_take_from / paths.root.relative_to(run.root))
        record = read_inputs(origin.inputs)
        if record is None:
            raise DamagedFileError(f"{origin.inputs} vanished while it was taken over")
        taken = TakenFrom(
            run_id=part.can_take_from, fingerprint=record.fingerprint, outputs=part.offered, when=time.time()
        )
        publish_json(paths.taken_from, msgspec.to_builtins(taken))


def _set_aside(run: RunPaths, status: RunStatus, stage: str) -> list[str]:
    moved = []
    for paths, part in parts_of(run, status, status.stage(stage)):
        if not any((paths.root / name).exists() for name in _ANSWER):
            continue
        with Claim(paths.claim, what=part_name(part), hint=f"xops run cancel {run.run_id} --stage {stage}"):
            last = paths.list_attempts()
            moved.append(str(set_aside(paths, last[-1].number if last else 1, _ANSWER)))
    return moved


def _stop(paths: StagePaths, part: StageStatus, *, force: bool) -> None:
    """SIGTERM to the supervisor; to the processes themselves if it is gone."""
    if part.holder is not None and part.holder.host not in ("", host()):
        raise UnreachableError(
            f"{part_name(part)} runs on {part.holder.host}",
            hint=f"ssh {part.holder.host} xops run cancel {part.run_id}",
        )
    watched = part.holder is not None and part.holder.identity.alive()
    try:
        if part.holder is not None and watched:
            os.kill(part.holder.pid, signal.SIGTERM)
        elif not force:
            _signal_main(paths, signal.SIGTERM)
        if force:
            _signal_main(paths, signal.SIGKILL)
    except PermissionError:
        raise NoPermissionError(f"{part_name(part)} belongs to another user") from None


def _signal_main(paths: StagePaths, signum: int) -> None:
    record = read_process(paths.list_attempts()[-1])
    if record is not None and record.main.alive():
        os.killpg(record.pgid, signum)


def _kill_attempt(paths: StagePaths, part: StageStatus) -> None:
    """Kill every process of the last attempt until none is left and the claim is free."""
    record = read_process(paths.list_attempts()[-1])
    end = time.monotonic() + 10.0
    while record is not None and ((left := record.survivors()) or holder(paths.claim)):
        if time.monotonic() > end:
            raise BusyError(
                f"{part_name(part)}: processes {left} do not die", hint="they may wait for a device"
            )
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                raise NoPermissionError(f"process {pid} belongs to another user") from None
        time.sleep(0.005)

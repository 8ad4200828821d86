"""What an operator can do to a run: start, cancel, reap, invalidate, take over, waive, sign.

Front ends call these and nothing else. Every act is one line in the run's journal, whether it worked or
not; with `dry_run` it says what it would do, changes nothing and writes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine.claim import Claim, holder
from pipeline.engine.errors import (
    BusyError,
    DamagedFileError,
    GateError,
    NoPermissionError,
    NotFoundError,
    NotReadyError,
    UnreachableError,
    UsageError,
)
from pipeline.engine.files import publish_json
from pipeline.engine.fingerprint import read_inputs
from pipeline.engine.gates import Decision, GateRecord, Verdict, publish_gate, read_gate
from pipeline.engine.journal import journalled, operator
from pipeline.engine.launch import Handoff, launch, stage_argv
from pipeline.engine.outputs import TakenFrom, read_digest, set_aside
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

#: What belongs to one answer of a stage and moves aside together.
_ANSWER = ("out", "outputs.json", "inputs.json", "gate.json", "work", "taken_from.json")


class Act(Struct, frozen=True, kw_only=True):
    """What an operation did, or would do.

    Attributes:
        verb: start, cancel, ...
        run_id: of which run.
        dry_run: whether nothing was done.
        message: one sentence for people.
        steps: the plan behind a start.
        handoffs: attempts that run now because of it.
        conductor: hand-off of the process that will start the following stages; None if none is needed.
    """

    verb: str
    run_id: str
    dry_run: bool
    message: str
    steps: tuple[Step, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    conductor: Handoff | None = None


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
    with _journal(run, "start", dry_run, who, ",".join(only) or until) as detail:
        status = read_run(run, registry)
        steps = plan(status.stages, registry.stages, until=until, only=only)
        due = _require_due(run, status, steps)
        later = any(step.works and not step.due for step in steps)
        message = f"{', '.join(f'{step.action} {step.stage}' for step in due)}" + ", then the rest" * later
        if dry_run:
            return Act(verb="start", run_id=run.run_id, dry_run=True, message=message, steps=tuple(steps))
        handoffs = do_steps(run, registry, status, due, shards=shards, executor=executor)
        later = later or any(step.action is Action.TAKE_OVER for step in due)
        conductor = _conduct(run, until, only) if later else None
        detail.update(started=[f"{h.stage}#{h.attempt}" for h in handoffs], conductor=conductor is not None)
        return Act(
            verb="start",
            run_id=run.run_id,
            dry_run=False,
            message=message,
            steps=tuple(steps),
            handoffs=tuple(handoffs),
            conductor=conductor,
        )


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
    with _journal(run, "cancel", dry_run, who, stage) as detail:
        status = read_run(run, registry)
        targets = [
            (paths, part)
            for found in ([status.stage(stage)] if stage else status.stages)
            for paths, part in _parts(run, status, found)
            if part.state.active and (not shards or part.shard in shards)
        ]
        conductor = None if stage else status.conductor
        if not targets and conductor is None:
            raise NotReadyError(
                f"nothing of {stage or run.run_id} is running", hint=f"xops run show {run.run_id}"
            )
        names = [_name(part) for _, part in targets] + ["the conductor"] * (conductor is not None)
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
    with _journal(run, "reap", dry_run, who, stage) as detail:
        status = read_run(run, registry)
        orphaned = [
            (paths, part)
            for paths, part in _parts(run, status, status.stage(stage))
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
    with _journal(run, "invalidate", dry_run, who, stage) as detail:
        status = read_run(run, registry)
        parts = _parts(run, status, status.stage(stage))
        if not any((paths.root / name).exists() for paths, _ in parts for name in _ANSWER):
            raise NotReadyError(f"{stage} has no outputs", hint=f"xops stage show {run.run_id} {stage}")
        if not dry_run:
            detail["moved_to"] = _set_aside(run, status, stage)
        message = f"{'would move' if dry_run else 'moved'} the outputs of {stage} aside"
        return Act(verb="invalidate", run_id=run.run_id, dry_run=dry_run, message=message)


def waive(
    run: RunPaths, registry: Registry, stage: str, *, why: str, dry_run: bool = False, who: str = ""
) -> Act:
    """Let what follows start although the gate of `stage` has not passed, for exactly this evidence.

    Raises:
        GateError: this gate cannot be waived.
        UsageError: no reason is given.
        NotReadyError: the gate needs no waiver.
        NotFoundError: the stage has no gate record yet.
    """
    return _decide("waive", run, registry, stage, why=why, dry_run=dry_run, who=who)


def sign(
    run: RunPaths,
    registry: Registry,
    stage: str,
    *,
    why: str,
    evidence: str = "",
    dry_run: bool = False,
    who: str = "",
) -> Act:
    """Confirm, as a person, what the gate of `stage` cannot decide by itself.

    `why` says what was looked at and found. `evidence`, the digest of the checks the person saw
    (`GateRecord.digest`), must still hold if it is given.

    Raises:
        GateError: a check has failed (a signature does not heal that), or the evidence has changed.
        UsageError, NotReadyError, NotFoundError: as `waive`.
    """
    return _decide("sign", run, registry, stage, why=why, dry_run=dry_run, who=who, evidence=evidence)


def _decide(
    verb: str,
    run: RunPaths,
    registry: Registry,
    stage: str,
    *,
    why: str,
    dry_run: bool,
    who: str,
    evidence: str = "",
) -> Act:
    who = who or operator()
    with _journal(run, verb, dry_run, who, stage) as detail:
        if not why.strip():
            raise UsageError(f"a reason is required to {verb} the gate of {stage}", hint="--why '...'")
        status = read_run(run, registry)
        found = status.stage(stage)
        if found.taken_from:
            hint = f"xops gate {verb} {found.taken_from} {stage}"
            raise UsageError(f"{stage} was taken over; its gate belongs to run {found.taken_from}", hint=hint)
        decided = []
        for paths, part in _parts(run, status, found):
            gate = part.gate
            if gate is None:
                raise NotFoundError(
                    f"{_name(part)} has no gate record yet", hint=f"xops run show {run.run_id}"
                )
            if gate.verdict.open and len(found.shards) > 1:
                continue
            _require_decidable(verb, stage, gate, registry.stage(stage).waivable, evidence)
            decided.append(gate.digest)
            if not dry_run:
                _add_decision(paths, gate, verb, who=who, why=why)
        detail.update(why=why, evidence=decided)
        message = f"{'would ' * dry_run}{verb} the gate of {stage}: {why}"
        return Act(verb=verb, run_id=run.run_id, dry_run=dry_run, message=message)


def _require_decidable(verb: str, stage: str, gate: GateRecord, waivable: bool, evidence: str) -> None:
    if gate.verdict.open:
        raise NotReadyError(f"the gate of {stage} is already open ({gate.verdict})")
    if verb == "waive" and not (waivable and gate.waivable):
        raise GateError(
            f"the gate of {stage} cannot be waived", hint="mend what it found and run the stage again"
        )
    if verb == "sign" and gate.verdict is Verdict.FAIL:
        failed = ", ".join(check.name for check in gate.checks if check.ok is False)
        raise GateError(f"the gate of {stage} has failed checks ({failed}); a signature does not change that")
    if evidence and evidence != gate.digest:
        raise GateError(
            f"the evidence of {stage} is not what was looked at", hint="look again, then sign again"
        )


def _add_decision(paths: StagePaths, seen: GateRecord, kind: str, *, who: str, why: str) -> None:
    """Append to gate.json under the stage's claim, so that no attempt replaces the evidence meanwhile."""
    with Claim(paths.claim, what=f"the gate of {seen.stage}", hint="wait until the stage has ended"):
        gate = read_gate(paths.gate)
        if gate is None or gate.digest != seen.digest:
            raise GateError(f"the evidence of {seen.stage} has just changed", hint="look again")
        decision = Decision(kind=kind, who=who, why=why, when=time.time(), digest=gate.digest)
        publish_gate(paths.gate, msgspec.structs.replace(gate, decisions=(*gate.decisions, decision)))


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
            raise BusyError(f"{step.stage} {step.reason}: {found.reason}", hint=f"xops run cancel {where}")
        if step.action is Action.BLOCKED:
            closed = any(wait.startswith("gate of ") for wait in found.waits_for)
            kind = GateError if closed else NotReadyError
            raise kind(f"{step.stage} is blocked: {step.reason}", hint=f"xops run show {run.run_id}")
    raise NotReadyError(
        f"everything asked for is done already: {', '.join(step.stage for step in steps)}",
        hint=f"xops run invalidate {run.run_id} --stage STAGE, to do one again",
    )


def _conduct(run: RunPaths, until: str, only: Collection[str]) -> Handoff | None:
    """Start the conductor; None if one is at work already."""
    target = ["--until", until] if until else ["--only", ",".join(only)] if only else []
    argv = [sys.executable, "-P", "-m", "pipeline.engine.conductor", str(run.root), *target]
    try:
        return launch(run.conductor, argv, grace_s=_CONDUCTOR_GRACE_S)
    except BusyError:
        return None


def _take_over(run: RunPaths, status: RunStatus, found: StageStatus) -> None:
    for paths, part in _parts(run, status, found):
        if part.state is StageState.SUCCEEDED:
            continue
        origin = RunPaths(run.root.parent / part.can_take_from)
        there = StagePaths(origin.root / paths.root.relative_to(run.root))
        record = read_inputs(there.inputs)
        if record is None or not part.can_take_from:
            raise DamagedFileError(f"{there.inputs} vanished while it was taken over")
        taken = TakenFrom(
            run_id=origin.run_id,
            fingerprint=record.fingerprint,
            outputs=read_digest(there.outputs),
            when=time.time(),
        )
        publish_json(paths.taken_from, msgspec.to_builtins(taken))


def _set_aside(run: RunPaths, status: RunStatus, stage: str) -> list[str]:
    moved = []
    for paths, part in _parts(run, status, status.stage(stage)):
        if not any((paths.root / name).exists() for name in _ANSWER):
            continue
        with Claim(paths.claim, what=_name(part), hint=f"xops run cancel {run.run_id} --stage {stage}"):
            last = paths.list_attempts()
            moved.append(str(set_aside(paths, last[-1].number if last else 1, _ANSWER)))
    return moved


def _stop(paths: StagePaths, part: StageStatus, *, force: bool) -> None:
    """SIGTERM to the supervisor; to the processes themselves if it is gone."""
    if part.holder is not None and part.holder.host not in ("", host()):
        raise UnreachableError(
            f"{_name(part)} runs on {part.holder.host}",
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
        raise NoPermissionError(f"{_name(part)} belongs to another user") from None


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
            raise BusyError(f"{_name(part)}: processes {left} do not die", hint="they may wait for a device")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                raise NoPermissionError(f"process {pid} belongs to another user") from None
        time.sleep(0.005)


def _parts(run: RunPaths, status: RunStatus, found: StageStatus) -> list[tuple[StagePaths, StageStatus]]:
    """The stage's directory with its status, or those of its shards."""
    paths = [paths for paths, _ in list_parts(status.request, run, found.stage)]
    return list(zip(paths, found.shards or (found,), strict=True))


def _name(part: StageStatus) -> str:
    return part.stage if part.shard is None else f"{part.stage} shard {part.shard}"


@contextmanager
def _journal(run: RunPaths, verb: str, dry_run: bool, who: str, stage: str) -> Iterator[dict[str, Any]]:
    if not run.request.exists():
        raise NotFoundError(f"no run {run.run_id!r} in {run.root.parent}", hint="xops run ls")
    if dry_run:
        yield {}
        return
    with journalled(run, verb, stage=stage, who=who) as detail:
        yield detail

"""Plans: what would be done next in a run, and why.

`plan` is one pure function used by the console's run key, by `xops run plan` and by every start, so what
an operator reads beforehand is what happens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from pipeline.engine.errors import NotFoundError
from pipeline.engine.registry import StageSpec
from pipeline.engine.state import StageState, StageStatus


class Action(StrEnum):
    """What a step does with its stage."""

    START = "start"
    RESUME = "resume"
    SKIP = "skip"
    TAKE_OVER = "take_over"
    BLOCKED = "blocked"
    WAIT = "wait"


class Step(Struct, frozen=True, kw_only=True):
    """One stage of a plan.

    Attributes:
        stage: its name.
        action: what happens to it.
        reason: one plain sentence.
        reuses: what is not done again, in words; empty when everything is.
        source: the run taken over from, for TAKE_OVER.
        shards: indices of the shards that would run, when the run splits the stage.
        after: stages of this plan that have to end first.
    """

    stage: str
    action: Action
    reason: str
    reuses: str = ""
    source: str = ""
    shards: tuple[int, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether this step makes or takes over outputs."""
        return self.action in (Action.START, Action.RESUME, Action.TAKE_OVER)

    @property
    def pending(self) -> bool:
        """Whether stages after it have to wait for it."""
        return self.works or self.action is Action.WAIT

    @property
    def due(self) -> bool:
        """Whether it can be done right now."""
        return self.works and not self.after


#: What a resumed attempt does not do again, by the stage's unit of resumption.
_REUSES = {
    "whole": "",
    "batch": "batches, files and chunks that are already verified",
    "chunk": "chunks that are already verified",
    "episode": "episodes that are already done",
    "shard": "shards that are already done",
    "checkpoint": "training up to the last checkpoint",
    "sample": "rows that are already predicted",
}


def plan(
    stages: Iterable[StageStatus],
    specs: Mapping[str, StageSpec],
    *,
    until: str = "",
    only: Collection[str] = (),
) -> list[Step]:
    """What would be done, in order.

    Args:
        stages: status of every stage of the run, in dependency order.
        specs: the stages' declarations.
        until: plan no further than this stage, and only what it needs.
        only: plan exactly these stages; whatever else they need must be done already.

    Raises:
        NotFoundError: `until` or `only` names a stage that the run does not have.
    """
    known = {status.stage: status for status in stages}
    for name in (*only, *([until] if until else [])):
        if name not in known:
            raise NotFoundError(f"the run has no stage {name!r}", hint=f"it has: {', '.join(known)}")
    wanted = set(only) or (_needed(until, known) if until else set(known))
    steps: dict[str, Step] = {}
    for name, status in known.items():
        if name in wanted:
            steps[name] = _step(status, known, steps, specs.get(name))
    return list(steps.values())


def _needed(stage: str, known: Mapping[str, StageStatus]) -> set[str]:
    found = {stage}
    for need in known[stage].needs:
        found |= _needed(need, known)
    return found


def _step(
    status: StageStatus,
    known: Mapping[str, StageStatus],
    steps: Mapping[str, Step],
    spec: StageSpec | None,
) -> Step:
    name, state, source = status.stage, status.state, status.can_take_from
    if state.active and state is not StageState.ORPHANED:
        return Step(stage=name, action=Action.WAIT, reason=f"it is {state}")
    before = tuple(need for need in status.needs if need in steps and steps[need].pending)
    if state is StageState.SUCCEEDED:
        return _finished(status, before)
    if spec is None or (obstacle := _obstacle(status, known, steps)):
        reason = obstacle if spec else "this version of xops does not have this stage"
        return Step(stage=name, action=Action.BLOCKED, reason=reason)
    if source and all(steps[need].action is Action.TAKE_OVER for need in before):
        reason = f"run {source} has answered exactly this already"
        return Step(
            stage=name,
            action=Action.TAKE_OVER,
            reason=reason,
            reuses="everything",
            source=source,
            after=before,
        )
    return _work(status, spec, before)


def _finished(status: StageStatus, before: tuple[str, ...]) -> Step:
    if before:
        reason = f"only if {' or '.join(before)} gives other outputs than now"
        return Step(
            stage=status.stage,
            action=Action.START,
            reason=reason,
            reuses="everything otherwise",
            after=before,
        )
    reason = f"taken over from run {status.taken_from}" if status.taken_from else "already done"
    if status.verdict is not None and not status.verdict.open:
        reason += f", but its gate says {status.verdict}"
    return Step(stage=status.stage, action=Action.SKIP, reason=reason, reuses="everything")


def _obstacle(status: StageStatus, known: Mapping[str, StageStatus], steps: Mapping[str, Step]) -> str:
    """Why the stage can run neither now nor after the steps before it; empty if it can."""
    if status.state is StageState.ORPHANED:
        return "processes of a dead attempt are alive: reap them"
    for need in status.needs:
        step, upstream = steps.get(need), known[need]
        if step is not None and step.action is Action.BLOCKED:
            return f"it needs {need}, which is blocked"
        if step is not None and step.action is not Action.SKIP:
            continue
        if upstream.state is not StageState.SUCCEEDED:
            return f"it needs {need}, which is {upstream.state}"
        if not upstream.done:
            return f"the gate of {need} says {upstream.verdict}"
    return ""


def _work(status: StageStatus, spec: StageSpec, before: tuple[str, ...]) -> Step:
    resumes = status.state.resumable
    todo = [part for part in status.shards if part.state is not StageState.SUCCEEDED]
    finished = len(status.shards) - len(todo)
    if finished:
        reuses = f"{finished} of {len(status.shards)} shards"
    else:
        reuses = _REUSES[spec.resume] if resumes else ""
    return Step(
        stage=status.stage,
        action=Action.RESUME if resumes else Action.START,
        reason=_why(status, before),
        reuses=reuses,
        shards=tuple(part.shard for part in todo if part.shard is not None),
        after=before,
    )


_ENDED = {
    StageState.FAILED: "failed",
    StageState.CANCELLED: "was cancelled",
    StageState.LOST: "ended without a record",
}


def _why(status: StageStatus, before: tuple[str, ...]) -> str:
    if status.state is StageState.STALE:
        return f"its outputs are stale: {'; '.join(status.stale_because) or status.reason}"
    if status.state.resumable:
        return f"its last attempt {_ENDED[status.state]}" + (f": {status.reason}" if status.reason else "")
    return f"after {' and '.join(before)}" if before else "everything it needs is done"

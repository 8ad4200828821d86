"""Stage states: derived from the files of a run, never stored.

`derive` is a pure function of a stage's `Facts`, first match wins; `pipeline.engine.status` gathers the
facts. Nothing else in xops decides what state a stage is in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from pipeline.engine.claim import Holder, spoken_seconds
from pipeline.engine.gates import GateRecord, Verdict


class StageState(StrEnum):
    """All states, in the order `derive` tests them."""

    ORPHANED = "orphaned"
    CANCELLING = "cancelling"
    STALLED = "stalled"
    RUNNING = "running"
    QUEUED = "queued"
    SUCCEEDED = "succeeded"
    STALE = "stale"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    BLOCKED = "blocked"
    READY = "ready"

    @property
    def active(self) -> bool:
        """Whether processes of the stage are alive, or a scheduler is about to start them."""
        return self in _ACTIVE

    @property
    def resumable(self) -> bool:
        """Whether an earlier attempt ended without outputs and a new one continues its work."""
        return self in (StageState.FAILED, StageState.CANCELLED, StageState.LOST)


_ACTIVE = frozenset(
    {StageState.ORPHANED, StageState.CANCELLING, StageState.STALLED, StageState.RUNNING, StageState.QUEUED}
)


class Facts(NamedTuple):
    """What the files and the process table say about one stage.

    Attributes:
        held: some process of an attempt is alive.
        led: the supervisor or the main process is among them, or nobody here can tell.
        cancel_asked: the attempt's last engine event is a cancellation.
        quiet_s: seconds since the last domain event, never negative.
        stall_s: how long that may be.
        queued: a scheduler accepted it and has not started it.
        complete: outputs exist, own or taken over.
        fresh: they answer the question that the inputs ask now.
        attempted: there is an attempt.
        outcome: how the last one ended; empty if nobody recorded it.
        needs_met: every needed stage has succeeded and its gate is open.
    """

    held: bool = False
    led: bool = True
    cancel_asked: bool = False
    quiet_s: float = 0.0
    stall_s: float = 300.0
    queued: bool = False
    complete: bool = False
    fresh: bool = True
    attempted: bool = False
    outcome: str = ""
    needs_met: bool = True


def derive(facts: Facts) -> StageState:
    """The state of a stage; the table of the design, first match wins."""
    if facts.held:
        return _held(facts)
    if facts.queued:
        return StageState.QUEUED
    if facts.complete:
        return StageState.SUCCEEDED if facts.fresh else StageState.STALE
    if facts.attempted:
        return _ended(facts.outcome)
    return StageState.READY if facts.needs_met else StageState.BLOCKED


def _held(facts: Facts) -> StageState:
    if not facts.led:
        return StageState.ORPHANED
    if facts.cancel_asked:
        return StageState.CANCELLING
    return StageState.STALLED if facts.quiet_s > facts.stall_s else StageState.RUNNING


def _ended(outcome: str) -> StageState:
    # `done` without outputs is a lost publication, not a success.
    known = {"failed": StageState.FAILED, "cancelled": StageState.CANCELLED}
    return known.get(outcome, StageState.LOST)


class AttemptInfo(Struct, frozen=True, kw_only=True):
    """One execution of a stage; all times are Unix seconds.

    Attributes:
        number: from 1.
        started: when its process existed; None if it never did.
        ended: None while it runs and when nobody recorded the end.
        outcome: `done`, `failed`, `cancelled`, or empty when not recorded.
        rc: exit status, negative for a signal; None when not recorded.
        message, hint: what the operator is told.
        max_rss_mb, cpu_s: what it used.
        orphans_killed: whether worker processes had to be killed after it.
    """

    number: int
    started: float | None = None
    ended: float | None = None
    outcome: str = ""
    rc: int | None = None
    message: str = ""
    hint: str = ""
    max_rss_mb: int = 0
    cpu_s: float = 0.0
    orphans_killed: bool = False


class StageStatus(Struct, frozen=True, kw_only=True):
    """Everything a front end shows about one stage, or about one shard of it.

    Attributes:
        run_id, stage, shard: which one; shard is None for a whole stage.
        state: derived.
        reason: one plain sentence on why it is in this state.
        needs: the stages of the run it builds on.
        waits_for: those of them that are not done or whose gate is closed, one phrase each.
        attempts: history, oldest first.
        holder: who took the claim, while it is held.
        pids: surviving processes, for an orphaned stage.
        gate: checks and decisions; None when there are none.
        verdict: what the gate says; for a split stage the worst of its shards.
        outputs: digest of the outputs in use; empty if there are none.
        out: directories of those outputs, one per shard.
        taken_from: id of the run that made them; empty for this one.
        can_take_from: id of a run whose outputs would fit; empty for none.
        offered: digest of those outputs.
        stale_because: what changed since the outputs were made, one sentence each.
        quiet_s: seconds since the last domain event of a running attempt.
        shards: the same for every shard, when the run splits the stage.
    """

    run_id: str
    stage: str
    shard: int | None = None
    state: StageState
    reason: str = ""
    needs: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    attempts: tuple[AttemptInfo, ...] = ()
    holder: Holder | None = None
    pids: tuple[int, ...] = ()
    gate: GateRecord | None = None
    verdict: Verdict | None = None
    outputs: str = ""
    out: tuple[str, ...] = ()
    taken_from: str = ""
    can_take_from: str = ""
    offered: str = ""
    stale_because: tuple[str, ...] = ()
    quiet_s: float = 0.0
    shards: tuple[StageStatus, ...] = ()

    @property
    def done(self) -> bool:
        """Whether stages that need this one may use its outputs."""
        return self.state is StageState.SUCCEEDED and (self.verdict is None or self.verdict.open)


def combined(states: list[StageState]) -> StageState:
    """The state of a split stage: what asks for attention first, then what is still to do.

    With some shards done and the rest never started the whole is as ready or blocked as the rest.
    """
    remaining = [state for state in states if state is not StageState.SUCCEEDED]
    if not remaining:
        return StageState.SUCCEEDED
    return min(remaining, key=list(StageState).index)


def explain(state: StageState, last: AttemptInfo | None, holder: Holder | None, quiet_s: float) -> str:
    """One plain sentence for the states that attempts and processes explain; empty for the others."""
    quiet = f"nothing heard for {spoken_seconds(quiet_s)}"
    sentences = {
        StageState.ORPHANED: "its main process and supervisor are dead, but workers of it are alive",
        StageState.CANCELLING: "asked to stop; saving what it has",
        StageState.STALLED: f"running, but {quiet}",
        StageState.RUNNING: f"held by {holder}" if holder else "its main process is alive",
        StageState.QUEUED: "accepted by the scheduler, waiting for resources",
        StageState.FAILED: last.message if last else "",
        StageState.CANCELLED: last.message if last else "",
        StageState.LOST: last.message if last and last.message else "it ended and nobody recorded how",
    }
    return sentences.get(state, "")

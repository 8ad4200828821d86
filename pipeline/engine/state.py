"""Stage states: derived from the files of a run, never stored.

`read_stage` gathers facts (claim, processes, records); `derive` is a pure function of them, first match
wins. Nothing else in xops decides what state a stage is in.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from pipeline.engine.gates import GateRecord


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
        """Whether processes of the stage are alive (or a scheduler is about to start them)."""
        return self in _ACTIVE

    @property
    def resumable(self) -> bool:
        """Whether an earlier attempt left work that a new one continues from."""
        return self in (StageState.FAILED, StageState.CANCELLED, StageState.LOST)


_ACTIVE = frozenset(
    {StageState.ORPHANED, StageState.CANCELLING, StageState.STALLED, StageState.RUNNING, StageState.QUEUED}
)


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


class HolderInfo(Struct, frozen=True, kw_only=True):
    """Who holds a claim."""

    pid: int
    pgid: int
    host: str
    user: str
    since: float


class StageStatus(Struct, frozen=True, kw_only=True):
    """Everything a front end shows about one stage (or one shard of it).

    Attributes:
        run_id, stage: which one.
        state: derived.
        reason: one plain sentence on why it is in this state.
        attempts: history, oldest first.
        holder: who holds the claim now.
        gate: checks and decisions; None when the stage has written none.
        taken_from: id of the run whose outputs this one uses; empty for its own.
        stale_because: what changed since the outputs were made, one sentence each.
        waits_for: stages that are not done or whose gate is closed.
        quiet_s: seconds since the last domain event of a running attempt.
        shards: the same for every shard, when the run splits the stage.
    """

    run_id: str
    stage: str
    state: StageState
    reason: str = ""
    attempts: tuple[AttemptInfo, ...] = ()
    holder: HolderInfo | None = None
    gate: GateRecord | None = None
    taken_from: str = ""
    stale_because: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    quiet_s: float = 0.0
    shards: tuple[StageStatus, ...] = ()

"""Plans: what would be done next in a run, and why.

`plan` is one pure function used by the console's run key, by `xops run plan` and by every start, so what
an operator reads beforehand is what happens.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


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
        shards: indices of the shards that would run, when the stage is split.
    """

    stage: str
    action: Action
    reason: str
    reuses: str = ""
    source: str = ""
    shards: tuple[int, ...] = ()

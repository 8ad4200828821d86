"""The seam between the engine and whatever runs its processes: this machine, a scheduler, another host.

An executor starts attempts and says which of them still wait for resources. Everything else about an
attempt is read from its files, so that any console on any host can pick it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from pipeline.engine.launch import Handoff
from pipeline.engine.paths import StagePaths


class Job(Struct, frozen=True, kw_only=True):
    """One attempt to start.

    Attributes:
        paths: the stage's or shard's directory.
        argv: the command.
        grace_s: seconds between SIGTERM and SIGKILL.
        gpus: GPUs it will lease.
    """

    paths: StagePaths
    argv: tuple[str, ...]
    grace_s: float
    gpus: int = 0


class Executor(Protocol):
    """What every executor offers."""

    @property
    def name(self) -> str:
        """What operators type."""

    def submit(self, job: Job) -> Handoff:
        """Start the job, or hand it to the scheduler; returns once it is certain to run.

        Raises:
            BusyError: an attempt of that stage still runs.
            StageFailedError: it could not be started.
        """

    def pending(self, stages: Sequence[StagePaths]) -> frozenset[StagePaths]:
        """Those of `stages` that were accepted and wait for resources; one question for all of them."""

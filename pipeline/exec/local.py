"""The executor of this machine: every attempt is a detached process under its own supervisor."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.launch import Handoff, launch
from pipeline.engine.paths import StagePaths
from pipeline.exec.base import Job


class LocalExecutor:
    """Starts attempts here and now; nothing ever waits."""

    name = "local"

    def submit(self, job: Job) -> Handoff:
        """See `Executor.submit`."""
        return launch(job.paths, job.argv, grace_s=job.grace_s)

    def pending(self, stages: Sequence[StagePaths]) -> frozenset[StagePaths]:  # noqa: ARG002 - nothing waits here
        """See `Executor.pending`."""
        return frozenset()

"""What all operations share: their result, their line in the journal, and the parts of a stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import NotFoundError
from pipeline.engine.journal import journalled
from pipeline.engine.launch import Handoff
from pipeline.engine.paths import RunPaths, StagePaths
from pipeline.engine.plan import Step
from pipeline.engine.state import StageStatus
from pipeline.engine.status import RunStatus, list_parts


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


def parts_of(run: RunPaths, status: RunStatus, found: StageStatus) -> list[tuple[StagePaths, StageStatus]]:
    """The stage's directory with its status, or those of its shards."""
    paths = [paths for paths, _ in list_parts(status.request, run, found.stage)]
    return list(zip(paths, found.shards or (found,), strict=True))


def part_name(part: StageStatus) -> str:
    """What messages call a stage or shard."""
    return part.stage if part.shard is None else f"{part.stage} shard {part.shard}"


@contextmanager
def recorded(run: RunPaths, verb: str, dry_run: bool, who: str, stage: str) -> Iterator[dict[str, Any]]:
    """Write the journal's line for the block, unless it is a dry run; yields the line's `detail`.

    Raises:
        NotFoundError: there is no such run.
    """
    if not run.request.exists():
        raise NotFoundError(f"no run {run.run_id!r} in {run.root.parent}", hint="xops run ls")
    if dry_run:
        yield {}
        return
    with journalled(run, verb, stage=stage, who=who) as detail:
        yield detail

"""A generated dataset: sessions of episodes below one folder, laid out and named like the real repository.

Every task of the vocabulary appears in many sessions, so that whichever sessions become the test split, its
actions have been seen in training.
"""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from pipeline.data.pool import run_pool
from pipeline.data.synth.episode import SHORT_FRAMES, EpisodeSpec, write_episode
from pipeline.data.synth.faults import Fault
from pipeline.data.synth.vocabulary import DEFAULT, Vocabulary
from pipeline.engine.errors import StageFailedError, UsageError
from pipeline.engine.log import Emit


class WorldSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to generate; the same specification gives the same bytes.

    Attributes:
        sessions: with at least one episode each.
        episodes: in all; 0 for one per session.
        min_frames, max_frames: range of the episodes' lengths, frames.
        size, depth: of pictures and depth images, see `EpisodeSpec`.
        seed: everything random follows from it.
        faults: fault -> number of episodes that have it; each faulty episode has one.
        viewer_share: share of episodes that also have a viewer file.
    """

    sessions: Annotated[int, Meta(ge=1, le=10_000)] = 8
    episodes: Annotated[int, Meta(ge=0, le=100_000)] = 0
    min_frames: Annotated[int, Meta(ge=1, le=20_000)] = 200
    max_frames: Annotated[int, Meta(ge=1, le=20_000)] = 400
    size: Annotated[int, Meta(ge=32, le=2048, multiple_of=2)] = 64
    depth: Annotated[int, Meta(ge=1, le=256)] = 16
    seed: int = 7
    faults: dict[Fault, Annotated[int, Meta(ge=0)]] = {}
    viewer_share: Annotated[float, Meta(ge=0, le=1)] = 1 / 6


class PlannedEpisode(Struct, frozen=True):
    """An episode of a world: `<session>/ep<N>`, and what to generate there."""

    path: str
    spec: EpisodeSpec


class WrittenEpisode(Struct, frozen=True, kw_only=True):
    """An episode that was generated.

    Attributes:
        path: `<session>/ep<N>`.
        frames: what its annotation should have.
        bytes: of all its files.
        faults: what is wrong with it, on purpose.
    """

    path: str
    frames: int
    bytes: int
    faults: tuple[Fault, ...]


def plan_world(spec: WorldSpec) -> list[PlannedEpisode]:
    """The episodes of a world, by path.

    Raises:
        UsageError: fewer episodes than sessions, an empty range of lengths, or more faults than episodes.
    """
    count = spec.episodes or spec.sessions
    faulty = [fault for fault, number in sorted(spec.faults.items()) for _ in range(number)]
    if count < spec.sessions or spec.min_frames > spec.max_frames:
        raise UsageError(
            f"{count} episodes of {spec.min_frames} to {spec.max_frames} frames in {spec.sessions} sessions "
            "cannot be made"
        )
    if len(faulty) > count:
        raise UsageError(f"{len(faulty)} faults are more than {count} episodes")
    pick = random.Random(spec.seed)
    sessions = [str(uuid.UUID(int=pick.getrandbits(128), version=4)) for _ in range(spec.sessions)]
    faults = dict(zip(pick.sample(range(count), len(faulty)), faulty, strict=True))
    numbers = dict.fromkeys(sessions, 0)
    planned = []
    for index in range(count):
        session = sessions[index % spec.sessions]
        numbers[session] += pick.randint(1, 3)
        episode = EpisodeSpec(
            frames=pick.randint(spec.min_frames, spec.max_frames),
            size=spec.size,
            depth=spec.depth,
            task=index + index // spec.sessions,
            seed=pick.getrandbits(32),
            faults=(faults[index],) if index in faults else (),
            viewer_file=pick.random() < spec.viewer_share,
        )
        planned.append(PlannedEpisode(f"{session}/ep{numbers[session]}", episode))
    return sorted(planned, key=lambda episode: episode.path)


class _Job(Struct, frozen=True):
    root: str
    planned: PlannedEpisode
    vocabulary: Vocabulary


def write_world(
    root: Path,
    spec: WorldSpec,
    vocabulary: Vocabulary = DEFAULT,
    *,
    emit: Emit | None = None,
    workers: int = 0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> list[WrittenEpisode]:
    """Generate a world below `root`; episodes that are there already are kept.

    Args:
        root: folder of the sessions.
        spec: what to generate.
        vocabulary: what episodes can show.
        emit: told `episode_generated` (episode, frames, bytes, faults; done, total, unit) for each.
        workers: processes; 0 takes one per core, 1 none but this one.
        check_cancelled: called now and then; whatever it raises ends the work.

    Raises:
        UsageError: the specification cannot be met.
        StageFailedError: an episode could not be written.
    """
    jobs = [_Job(str(root), planned, vocabulary.checked()) for planned in plan_world(spec)]
    written: list[WrittenEpisode] = []
    for episode in _write_all(jobs, workers, check_cancelled):
        written.append(episode)
        if emit:
            emit(
                "episode_generated",
                done=len(written),
                total=len(jobs),
                unit="episodes",
                episode=episode.path,
                frames=episode.frames,
                bytes=episode.bytes,
                faults=list(episode.faults),
            )
    return sorted(written, key=lambda episode: episode.path)


def _write_all(
    jobs: Sequence[_Job], workers: int, check_cancelled: Callable[[], None]
) -> Iterator[WrittenEpisode]:
    if workers == 1:
        for job in jobs:
            check_cancelled()
            yield _write_one(job)
        return
    for outcome in run_pool(_write_one, jobs, workers=workers, check_cancelled=check_cancelled):
        if outcome.result is None:
            raise StageFailedError(f"{outcome.item.planned.path} could not be generated: {outcome.error}")
        yield outcome.result


def _write_one(job: _Job) -> WrittenEpisode:
    """Write an episode beside its place and move it there, so that a folder of that name is whole."""
    spec, folder = job.planned.spec, Path(job.root) / job.planned.path
    if not folder.is_dir():
        unfinished = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_episode(unfinished, spec, job.vocabulary)
        unfinished.rename(folder)
    return WrittenEpisode(
        path=job.planned.path,
        frames=SHORT_FRAMES if "short" in spec.faults else spec.frames,
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
        faults=spec.faults,
    )

"""What one annotation says for the manifest: frames, modality flags, label counts.

Reads frame names and the caption; no large array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.data.labels import FrameLabels
from pipeline.data.manifest.build import Description, Windowing
from pipeline.data.manifest.record import LabelStats, PerTarget
from pipeline.data.pool import run_pool
from pipeline.data.qa.episode import file_identity
from pipeline.data.splits import episode_id
from pipeline.data.windows import majority, window_starts
from pipeline.engine.errors import XopsError
from pipeline.engine.files import publish_bytes
from pipeline.engine.log import Emit


class DescribeTask(Struct, frozen=True):
    """What a worker gets: an episode, its folder, and how windows are cut."""

    episode: str
    folder: str
    windowing: Windowing


def describe_episode(task: DescribeTask) -> Description:
    """Describe one episode; an unreadable annotation is a `problem`, never an exception."""
    from pipeline.data.episode import open_episode

    try:
        with open_episode(Path(task.folder)) as episode:
            _ = episode.annotation  # raises where it cannot be read
            main_task = episode.caption.main_task if episode.caption else ""
            return Description(
                frame_count=episode.frame_count,
                modalities=episode.modalities(),
                labels=count_labels(episode.labels(), task.windowing, main_task),
            )
    except XopsError as error:
        return Description(problem=str(error))


def count_labels(labels: FrameLabels, windowing: Windowing, main_task: str = "") -> LabelStats:
    """Frames and windows per label; each kind of label has its own windows, as the published counts do."""
    targets = (labels.action, labels.subtask)
    windows = [_window_labels(target, windowing) for target in targets]
    return LabelStats(
        main_task=main_task,
        segments=len(labels.segments),
        frame_labels=PerTarget(*(_most_common(filter(None, target)) for target in targets)),
        window_labels=PerTarget(*(_most_common(found) for found in windows)),
        num_labeled_windows={"action": len(windows[0]), "subtask": len(windows[1])},
    )


def _window_labels(labels: Sequence[str], windowing: Windowing) -> list[str]:
    size = windowing.window_frames
    starts = window_starts(len(labels), size, windowing.stride_frames)
    found = (majority(labels[start : start + size], windowing.min_label_fraction)[0] for start in starts)
    return [label for label in found if label]


def _most_common(labels: Iterable[str]) -> dict[str, int]:
    return dict(Counter(labels).most_common())


class _Cached(Struct):
    identity: str
    windowing: Windowing
    description: Description


def describe_all(
    tasks: Sequence[DescribeTask],
    cache: Path,
    *,
    emit: Emit,
    workers: int = 0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> dict[str, Description]:
    """The description of every episode, by its path.

    Args:
        tasks: one per episode.
        cache: directory of one record per episode; it counts while files and windowing are the same.
        emit: told `episode_described` (episode, frames, labelled_windows; done, total, unit) for each.
        workers: processes; 0 takes one per core.
        check_cancelled: called now and then; whatever it raises ends the work.
    """
    found: dict[str, Description] = {}

    def finish(episode: str, description: Description) -> None:
        found[episode] = description
        emit(
            "episode_described",
            done=len(found),
            total=len(tasks),
            unit="episodes",
            episode=episode,
            frames=description.frame_count,
            labelled_windows=description.labels.num_labeled_windows.get("action", 0),
            problem=description.problem,
        )

    todo = []
    for task in tasks:
        known = _known(cache, task)
        if known is None:
            todo.append(task)
        else:
            finish(task.episode, known)
    for outcome in run_pool(describe_episode, todo, workers=workers, check_cancelled=check_cancelled):
        task, description = outcome.item, outcome.result or Description(problem=outcome.error)
        record = _Cached(file_identity(Path(task.folder)), task.windowing, description)
        publish_bytes(_place(cache, task), msgspec.json.encode(record))
        finish(task.episode, description)
    return found


def _place(cache: Path, task: DescribeTask) -> Path:
    return cache / f"{episode_id(task.episode)}.json"


def _known(cache: Path, task: DescribeTask) -> Description | None:
    try:
        record = msgspec.json.decode(_place(cache, task).read_bytes(), type=_Cached)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # not there, or of an earlier version: read again
    same = record.identity == file_identity(Path(task.folder)) and record.windowing == task.windowing
    return record.description if same else None

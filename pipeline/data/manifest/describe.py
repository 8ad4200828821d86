"""What one annotation says for the manifest: frames, modality flags, label counts.

Reads frame names and the caption; no large array. Episodes without SLAM frame names are resolved through
`video/device_timestamp`, so that they keep their labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from pipeline.data.captions import caption_json, parse_caption
from pipeline.data.frames import CurrentResolver, FrameTable
from pipeline.data.labels import propagate
from pipeline.data.layout import ANNOTATION, MODALITIES
from pipeline.data.manifest.build import Description, Windowing
from pipeline.data.manifest.record import LabelStats, PerTarget
from pipeline.data.pool import run_pool
from pipeline.data.qa.episode import file_identity
from pipeline.data.qa.record import first_line
from pipeline.data.splits import episode_id
from pipeline.data.windows import majority, window_starts
from pipeline.engine.errors import DamagedFileError
from pipeline.engine.files import publish_bytes
from pipeline.engine.log import Emit

if TYPE_CHECKING:
    import h5py

#: Arrays that tell the number of frames where there are no frame names, in the published order.
FALLBACKS = ("hand_mocap/left_joints_3d", "depth/depth", "full_body_mocap/keypoints")


class DescribeTask(Struct, frozen=True):
    """What a worker gets: an episode, its folder, and how windows are cut."""

    episode: str
    folder: str
    windowing: Windowing


def describe_episode(task: DescribeTask) -> Description:
    """Describe one episode; an unreadable annotation is a `problem`, never an exception."""
    import h5py

    annotation = Path(task.folder) / ANNOTATION
    try:
        with h5py.File(annotation, "r") as file:
            table = frame_table(file)
            flags = {flag: path in file for flag, path in MODALITIES.items()}
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return Description(problem=f"the annotation cannot be read: {first_line(error)}")
    return Description(
        frame_count=table.count, modalities=flags, labels=count_labels(annotation, table, task.windowing)
    )


def frame_table(file: h5py.File) -> FrameTable:
    """The frames of an annotation: by SLAM's names, else by the video's device timestamps.

    The number of frames is the published one: of the names, else of the first array that has frames.
    """
    from pipeline.data.qa.annotation import timestamps

    if "slam/frame_names" in file:
        values = file["slam/frame_names"][:]
        return FrameTable.of_names(
            [v.decode("utf-8", "replace").strip("\0 ") if isinstance(v, bytes) else str(v) for v in values]
        )
    rows = next((file[name].shape[0] for name in FALLBACKS if name in file), 0)
    clock = None
    if "video/device_timestamp" in file:
        clock = timestamps(file["video/device_timestamp"][:])
        rows = rows or clock.size
    return FrameTable(rows, (), clock if clock is not None and clock.size == rows else None)


def count_labels(annotation: Path, table: FrameTable, windowing: Windowing) -> LabelStats:
    """Frames and windows per label; nothing where there is no usable caption (the audit tells why)."""
    from pipeline.data.audit.caption import stored_caption

    try:
        text = stored_caption(annotation)
        caption = parse_caption(caption_json(text, annotation.parent)) if text is not None else None
    except (OSError, DamagedFileError):
        caption = None
    if caption is None:
        return LabelStats(num_labeled_windows={"action": 0, "subtask": 0})
    labels = propagate(caption, CurrentResolver(table), table.count)
    targets = (labels.action, labels.subtask)
    windows = [_window_labels(target, windowing) for target in targets]
    return LabelStats(
        main_task=caption.main_task,
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
    except (OSError, msgspec.MsgspecError):
        return None  # not there, or of an earlier version: read again
    same = record.identity == file_identity(Path(task.folder)) and record.windowing == task.windowing
    return record.description if same else None

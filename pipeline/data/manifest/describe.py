"""What one annotation says for the manifest: frames, modality flags, label counts.

Reads frame names and the caption; no large array. Episodes without SLAM frame names are resolved through
`video/device_timestamp`, so that they keep their labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.manifest.build import Description, Windowing
from pipeline.data.manifest.labels import FrameNames, frame_labels, label_stats
from pipeline.data.manifest.record import MODALITIES, LabelStats
from pipeline.data.pool import run_pool
from pipeline.data.qa.episode import ANNOTATION, file_identity
from pipeline.data.qa.record import first_line
from pipeline.data.splits import episode_id
from pipeline.data.taxonomy import caption_text
from pipeline.engine.files import publish_bytes
from pipeline.engine.log import Emit

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

    try:
        with h5py.File(Path(task.folder) / ANNOTATION, "r") as file:
            names = frame_names(file)
            flags = {flag: path in file for flag, path in MODALITIES.items()}
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return Description(problem=f"the annotation cannot be read: {first_line(error)}")
    labels = LabelStats(num_labeled_windows={"action": 0, "subtask": 0})
    caption = _caption(Path(task.folder) / ANNOTATION)
    if caption is not None:
        windowing: dict[str, Any] = msgspec.to_builtins(task.windowing)
        main_task = caption_text(caption).main_task
        labels = label_stats(main_task, frame_labels(caption, FrameNames(names)), **windowing)
    return Description(frame_count=len(names), modalities=flags, labels=labels)


def frame_names(file: Any) -> list[str]:
    """The name of every frame: SLAM's, else made of the video's device timestamps, else numbered."""
    from pipeline.data.qa.annotation import timestamps

    if "slam/frame_names" in file:
        values = file["slam/frame_names"][:]
        return [
            value.decode("utf-8", "replace").strip("\0 ") if isinstance(value, bytes) else str(value)
            for value in values
        ]
    rows = next((file[name].shape[0] for name in FALLBACKS if name in file), 0)
    if "video/device_timestamp" in file:
        clock = timestamps(file["video/device_timestamp"][:])
        if clock.size == rows or not rows:
            return [str(time) for time in clock]
    return [f"frame_{index:06d}.jpg" for index in range(rows)]


def _caption(annotation: Path) -> Any:
    from pipeline.data.audit.caption import caption_json

    try:
        return json.loads(caption_json(annotation))
    except (OSError, KeyError, ValueError, RecursionError):
        return None  # the audit tells why


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

"""A LeRobotDataset v3 of the same episodes, without the library, whose pins cannot share our environment.

Layout and fields as lerobot 0.6 reads them: one Parquet file of frames, one MP4 per episode (the main
camera's own file, linked), episodes, tasks and statistics under `meta/`. An action is the state that follows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.episode import open_episode
from pipeline.data.layout import FPS, MAIN_VIDEO
from pipeline.data.manifest.record import ManifestEpisode
from pipeline.data.policy.targets import read_motion, state_of
from pipeline.data.video import BROKEN
from pipeline.engine.errors import XopsError
from pipeline.engine.files import publish_json

VERSION = "v3.0"
VIDEO = "observation.images.main"
STATE, ACTION, MEASURED = "observation.state", "action", "observation.measured"

_NAMES = [f"{side}_{what}" for side in ("left", "right") for what in ("wrist_x", "wrist_y", "wrist_z")]
_NAMES += ["left_grip", "right_grip"]
_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)

#: LeRobot's own sizes of a chunk and its files, which its loaders expect to find.
_SIZES = {"chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200}

#: Splits in the order episodes are written, so that each is one range.
_SPLITS = ("train", "val", "test")


class Frames(Struct, frozen=True):
    """One episode's frames.

    Attributes:
        state: (frames, 8) wrists and grips; the last one seen where nothing is measured.
        measured: (frames,) 1 where it is.
        task: in words.
        video: the main camera's file.
        shape: height and width of its pictures.
        pictures: sums of a few of them, for the statistics.
    """

    state: NDArray[np.float32]
    measured: NDArray[np.float32]
    task: str
    video: Path
    shape: tuple[int, int]
    pictures: NDArray[np.float64]


def write_lerobot(
    out: Path,
    folders: Mapping[str, Path],
    episodes: Sequence[ManifestEpisode],
    *,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write the dataset into `out`; returns `meta/info.json`.

    Args:
        out: made if missing.
        folders: episode id -> its folder.
        episodes: of the manifest; those without a readable main camera are left out, `skipped` says why.
        check: called per episode; may raise.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("meta/episodes/chunk-000", "data/chunk-000", f"videos/{VIDEO}/chunk-000"):
        (out / name).mkdir(parents=True)
    ordered = sorted(episodes, key=lambda one: _SPLITS.index(one.split) if one.split in _SPLITS else 9)
    columns: dict[str, list[NDArray[Any]]] = {}
    rows: list[dict[str, Any]] = []
    tasks: dict[str, int] = {}
    skipped: dict[str, str] = {}
    splits: dict[str, list[int]] = {}
    shape = (0, 0)
    for entry in ordered:
        check()
        try:
            frames = _frames(folders[entry.episode_id], entry.main_task or "an everyday task")
        except (XopsError, *BROKEN) as error:
            skipped[entry.episode_path] = str(error)
            continue
        number, shape = len(rows), frames.shape
        _link(frames.video, out / f"videos/{VIDEO}/chunk-000/file-{number:03d}.mp4")
        task = tasks.setdefault(frames.task, len(tasks))
        first = rows[-1]["dataset_to_index"] if rows else 0
        made = _columns(frames, number, first, task)
        for key, values in made.items():
            columns.setdefault(key, []).append(values)
        rows.append(_episode_row(frames, made, number, first))
        splits.setdefault(entry.split, []).append(number)
    if rows:
        whole = {key: np.concatenate(parts) for key, parts in columns.items()}
        pq.write_table(
            pa.table({key: _array(values) for key, values in whole.items()}),
            out / "data/chunk-000/file-000.parquet",
        )
        pq.write_table(pa.Table.from_pylist(rows), out / "meta/episodes/chunk-000/file-000.parquet")
        _write_tasks(out / "meta/tasks.parquet", tasks)
        publish_json(out / "meta/stats.json", _all_stats(whole, rows))
    info = _info(rows, tasks, splits, shape) | {"xops_skipped": skipped}
    publish_json(out / "meta/info.json", info)
    return info


def _frames(folder: Path, task: str) -> Frames:
    with open_episode(folder) as episode:
        motion = read_motion(episode, episode.frame_count)
    video = folder / MAIN_VIDEO
    shape, pictures, count = _pictures(video)
    frames = min(motion.frames, count)
    state = np.stack([state_of(motion, frame) for frame in range(frames)])
    seen = np.isfinite(motion.hands[:frames]).all(axis=(1, 2, 3))
    last = np.maximum.accumulate(np.where(seen, np.arange(frames), 0))
    held: NDArray[np.float32] = np.asarray(state[last], np.float32)
    return Frames(held, np.asarray(seen, np.float32), task, video, shape, pictures)


def _pictures(video: Path) -> tuple[tuple[int, int], NDArray[np.float64], int]:
    """Size of the pictures, the key pictures as (n, 3, height, width) in 0..1, and how many there are."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        count = stream.frames
        stream.codec_context.skip_frame = "NONKEY"
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    values: NDArray[np.float64] = np.stack(found[:20]).astype(np.float64).transpose(0, 3, 1, 2) / 255.0
    return (values.shape[2], values.shape[3]), values, count


def _columns(frames: Frames, number: int, first: int, task: int) -> dict[str, NDArray[Any]]:
    count = len(frames.state)
    following = np.concatenate([frames.state[1:], frames.state[-1:]])
    return {
        STATE: frames.state,
        ACTION: following,
        MEASURED: frames.measured,
        "timestamp": (np.arange(count) / FPS).astype(np.float32),
        "frame_index": np.arange(count),
        "episode_index": np.full(count, number),
        "index": np.arange(first, first + count),
        "task_index": np.full(count, task),
    }


def _episode_row(frames: Frames, made: Mapping[str, NDArray[Any]], number: int, first: int) -> dict[str, Any]:
    count = len(frames.state)
    row: dict[str, Any] = {
        "episode_index": number,
        "tasks": [frames.task],
        "length": count,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": first,
        "dataset_to_index": first + count,
        f"videos/{VIDEO}/chunk_index": 0,
        f"videos/{VIDEO}/file_index": number,
        f"videos/{VIDEO}/from_timestamp": 0.0,
        f"videos/{VIDEO}/to_timestamp": count / FPS,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for key, values in (*made.items(), (VIDEO, frames.pictures)):
        for name, value in _stats(values, picture=key == VIDEO).items():
            row[f"stats/{key}/{name}"] = value.tolist()
    return row


def _stats(values: NDArray[Any], *, picture: bool = False) -> dict[str, NDArray[Any]]:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim == 1:
        numbers = numbers[:, None]
    axes = (0, 2, 3) if picture else (0,)
    found = {
        "min": numbers.min(axes),
        "max": numbers.max(axes),
        "mean": numbers.mean(axes),
        "std": numbers.std(axes),
        **{f"q{round(q * 100):02d}": np.quantile(numbers, q, axis=axes) for q in _QUANTILES},
    }
    if picture:
        found = {name: value.reshape(3, 1, 1) for name, value in found.items()}
    return found | {"count": np.array([len(numbers)])}


def _all_stats(whole: Mapping[str, NDArray[Any]], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all frames; of the pictures, the episodes' joined by how many each had."""
    found = {key: {name: v.tolist() for name, v in _stats(values).items()} for key, values in whole.items()}
    parts = {name: np.array([row[f"stats/{VIDEO}/{name}"] for row in rows]) for name in _stats(np.zeros(1))}
    weight = (parts["count"] / parts["count"].sum()).reshape(-1, 1, 1, 1)
    mean = (parts["mean"] * weight).sum(0)
    spread = ((parts["std"] ** 2 + (parts["mean"] - mean) ** 2) * weight).sum(0)
    pictures = {name: (values * weight).sum(0) for name, values in parts.items() if name.startswith("q")}
    pictures |= {"min": parts["min"].min(0), "max": parts["max"].max(0), "mean": mean, "std": np.sqrt(spread)}
    found[VIDEO] = {name: value.tolist() for name, value in pictures.items()}
    found[VIDEO]["count"] = [int(parts["count"].sum())]
    return found


def _info(
    rows: Sequence[Mapping[str, Any]],
    tasks: Mapping[str, int],
    splits: Mapping[str, Sequence[int]],
    shape: tuple[int, int],
) -> dict[str, Any]:
    height, width = shape
    numbers: dict[str, dict[str, Any]] = {
        STATE: {"dtype": "float32", "shape": [len(_NAMES)], "names": _NAMES},
        ACTION: {"dtype": "float32", "shape": [len(_NAMES)], "names": _NAMES},
        MEASURED: {"dtype": "float32", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    for name in ("frame_index", "episode_index", "index", "task_index"):
        numbers[name] = {"dtype": "int64", "shape": [1], "names": None}
    video = {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": FPS,
        "video.channels": 3,
        "has_audio": True,
    }
    names = ["height", "width", "channels"]
    return {
        "codebase_version": VERSION,
        "robot_type": "human_ego",
        "total_episodes": len(rows),
        "total_frames": rows[-1]["dataset_to_index"] if rows else 0,
        "total_tasks": len(tasks),
        **_SIZES,
        "fps": int(FPS),
        "splits": {name: f"{found[0]}:{found[-1] + 1}" for name, found in splits.items()},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            VIDEO: {"dtype": "video", "shape": [height, width, 3], "names": names, "info": video},
            **numbers,
        },
    }


def _array(values: NDArray[Any]) -> Any:
    import pyarrow as pa

    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values)


def _write_tasks(path: Path, tasks: Mapping[str, int]) -> None:
    """Tasks, indexed by their text as pandas writes an index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"task_index": pa.array(list(tasks.values())), "task": pa.array(list(tasks))})
    meta = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": list(_pandas_columns()),
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(meta)}), path)


def _pandas_columns() -> Iterator[dict[str, Any]]:
    for name, kind, stored in (("task_index", "int64", "int64"), ("task", "unicode", "object")):
        yield {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)

"""Episodes of a few frames and pixels, whole or with one thing wrong: enough for looking at files."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np

FPS = 20
FILES = (
    "annotation.hdf5",
    "fisheye_cam0.mp4",
    "fisheye_cam1.mp4",
    "fisheye_cam2.mp4",
    "fisheye_cam3.mp4",
    "stereo_left.mp4",
    "stereo_right.mp4",
)
START_NS = 82_777_404_821_554


def caption(frames: int, task: str = "Folding paper stars") -> dict[str, Any]:
    """A caption whose two actions share the episode; references are 1-based frame numbers."""
    half = frames // 2
    return {
        "config": {"segment_sec": 20, "Main Task": task},
        "global_summary": f"{task}.",
        "segments": [
            {
                "segment_id": 0,
                "start_frame": 1,
                "end_frame": frames,
                "Sub Task": "Fold, crease and set down",
                "Current Action": [
                    {
                        "label": "Fold paper strip",
                        "description": "Folds.",
                        "start_frame": 1,
                        "end_frame": half,
                    },
                    {"label": "Set down star", "start_frame": half + 1, "end_frame": frames},
                ],
                "objects": {"1": ["paper strip"]},
                "interaction": {"1": "both hands on the strip"},
            }
        ],
    }


def write_annotation(
    path: Path,
    frames: int = 60,
    *,
    task: str = "Folding paper stars",
    change: Callable[[h5py.File], None] | None = None,
) -> None:
    """An annotation with every group; `change` edits the open file."""
    random = np.random.default_rng(frames)
    samples = frames * 10
    clock = START_NS + np.arange(frames) * 50_000_000
    with h5py.File(path, "w") as file:
        for camera in range(4):
            group = file.create_group(f"calibration/cam{camera}")
            group["K"] = [200.0, 200.0, 256.0, 256.0]
            group["D"] = [0.1, 0.01, 0.0, 0.0]
            group["T_c_b" if camera == 0 else "T_cn_cnm1"] = np.eye(4)
            group["camera_model"] = "pinhole"
        file["calibration/cam01/K"] = [200.0, 200.0, 256.0, 256.0]
        file["calibration/cam01/T_c0_b"] = np.eye(4)
        file["calibration/cam01/baseline"] = 0.06
        file["slam/quat_wxyz"] = np.tile([1.0, 0.0, 0.0, 0.0], (frames, 1))
        file["slam/trans_xyz"] = random.normal(size=(frames, 3))
        file["slam/frame_names"] = np.array([f"{ns}.jpg".encode() for ns in clock])
        file["slam/point_cloud"] = random.normal(size=(50, 3))
        file["depth/depth"] = np.ones((frames, 8, 8), np.float32)
        file["depth/confidence"] = np.full((frames, 8, 8), 200, np.uint8)
        file["depth/scale"] = 0.5
        for side in ("left", "right"):
            file[f"hand_mocap/{side}_joints_3d"] = random.normal(size=(frames, 21, 3)).astype(np.float32)
        file["full_body_mocap/keypoints"] = random.normal(size=(frames, 52, 3)).astype(np.float32)
        file["full_body_mocap/contacts"] = np.zeros((frames, 21), np.float32)
        file["imu/device_timestamp_ns"] = START_NS + np.arange(samples) * 5_000_000
        file["imu/accel_xyz"] = random.normal(size=(samples, 3))
        file["imu/gyro_xyz"] = random.normal(size=(samples, 3))
        file["imu/keyframe_indices"] = np.arange(frames) * 10
        file["metadata/ground_height"] = -1.7
        file["video/device_timestamp"] = clock
        file["video/frame_number"] = np.arange(frames)
        file["video/length_sec"] = frames / FPS
        file["caption"] = json.dumps(caption(frames, task))
        if change:
            change(file)


def write_video(
    path: Path, frames: int = 60, *, audio: bool = False, silent: bool = False, fps: int = FPS
) -> None:
    """A 32 x 32 H.264 video, with AAC sound of the same length when asked."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=fps)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16_000) if audio else None
        for index in range(frames):
            image = np.full((32, 32, 3), index % 256, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode(None))
        if sound is not None:
            _write_sound(container, sound, frames / fps, silent=silent)


def _write_sound(container: Any, stream: Any, seconds: float, *, silent: bool) -> None:
    total = int(seconds * 16_000)
    wave = np.zeros(total) if silent else 0.3 * np.sin(np.arange(total) * 0.2)
    for start in range(0, total, 1024):
        block = wave[start : start + 1024].astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_episode(folder: Path, frames: int = 60, *, task: str = "Folding paper stars") -> Path:
    """A whole episode."""
    folder.mkdir(parents=True)
    write_annotation(folder / FILES[0], frames, task=task)
    for name in FILES[1:]:
        write_video(folder / name, frames, audio=name == "fisheye_cam0.mp4")
    return folder

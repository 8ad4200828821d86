"""What can be wrong with an episode, made on request; every real fault that we know of, and some more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import h5py
import numpy as np

from pipeline.data.layout import ANNOTATION

#: See the functions below and `pipeline.data.synth.episode` for what each does.
Fault = Literal[
    "caption_path",
    "empty_caption",
    "extra_frame",
    "hostile_labels",
    "missing_keys",
    "missing_mp4",
    "nan_poses",
    "no_audio",
    "no_caption",
    "no_labels",
    "no_slam",
    "short",
    "silent_audio",
    "stream_drift",
    "text_hdf5",
    "torn_hdf5",
    "truncated_mp4",
]

FAULTS: tuple[Fault, ...] = get_args(Fault)

#: What `missing_keys` leaves out, and what the eight odd episodes of the selection lack (formats section 5).
MISSING_KEYS = ("imu/accel_xyz", "depth/confidence", "hand_mocap/right_joints_3d")
ODD_KEYS = (
    "slam/quat_wxyz",
    "slam/point_cloud",
    "full_body_mocap/keypoints",
    "full_body_mocap/contacts",
)

#: Cameras that are damaged; never the main one, which would cost the episode.
TORN_VIDEO, LOST_VIDEO = "fisheye_cam1.mp4", "stereo_right.mp4"

#: By how much the IMU's clock is longer than the video's after `stream_drift`, seconds.
DRIFT_S = 0.5


def _without(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with h5py.File(folder / ANNOTATION, "r+") as file:
            for name in names:
                del file[name]

    return damage


def _nan_poses(folder: Path) -> None:
    """The middle third has no valid pose: NaN for the camera, zeros for the body."""
    with h5py.File(folder / ANNOTATION, "r+") as file:
        frames = len(file["slam/quat_wxyz"])
        rows = slice(frames // 3, 2 * frames // 3)
        file["slam/quat_wxyz"][rows] = np.nan
        file["slam/trans_xyz"][rows] = np.nan
        file["full_body_mocap/keypoints"][rows] = 0


def _stream_drift(folder: Path) -> None:
    """The IMU's clock runs too fast against the video's."""
    with h5py.File(folder / ANNOTATION, "r+") as file:
        clock = file["imu/device_timestamp_ns"][:]
        span = max(1, clock[-1] - clock[0])
        file["imu/device_timestamp_ns"][:] = clock + (clock - clock[0]) * (DRIFT_S * 1e9 / span)


def _torn(name: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        with path.open("r+b") as file:
            file.truncate(int(path.stat().st_size * share))

    return damage


def _text_hdf5(folder: Path) -> None:
    (folder / ANNOTATION).write_text("<html><body>504 Gateway Time-out</body></html>\n", "utf-8")


def _missing_mp4(folder: Path) -> None:
    (folder / LOST_VIDEO).unlink()


#: What is done to a whole episode after it was written; the other faults are made while writing.
DAMAGES: Mapping[Fault, Callable[[Path], None]] = {
    "missing_keys": _without(*MISSING_KEYS),
    "no_slam": _without(*ODD_KEYS),
    "nan_poses": _nan_poses,
    "stream_drift": _stream_drift,
    "missing_mp4": _missing_mp4,
    "truncated_mp4": _torn(TORN_VIDEO, 0.6),
    "torn_hdf5": _torn(ANNOTATION, 0.7),
    "text_hdf5": _text_hdf5,
}

"""Writes `annotation.hdf5` of a generated episode: nine groups, 65 datasets, shapes and types as real ones.

Formats section 1.2. The names of the two text datasets of each fisheye camera and of the six of `metadata`
are not established; ours are guesses.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.data.layout import FPS
from pipeline.data.synth.motion import T_C0_B, Motion
from pipeline.data.synth.script import Script

#: Rows of the depth images written at once.
_BLOCK = 64

#: Range of the depth images, m, and distances of the room behind and of the hand.
DEPTH_MIN, DEPTH_MAX = 0.0, 4.0
_ROOM, _HAND = 2.0, 0.6

#: Half the stereo picture's side in pixels, which is also the side of full depth images.
FULL_DEPTH = 256

_FOCAL, _MIDDLE = 200.0, 256.0

Floats = NDArray[np.float64]


def write_annotation(
    path: Path,
    script: Script,
    motion: Motion,
    caption: str | None,
    random: np.random.Generator,
    *,
    depth: int = FULL_DEPTH,
    suffix: str = ".jpg",
) -> None:
    """Write the file.

    Args:
        path: the file.
        script: what happens.
        motion: what moves.
        caption: content of the caption dataset; None leaves the dataset out.
        random: for what carries no meaning.
        depth: side of the depth images; 256 is the real one.
        suffix: of the frames' names.
    """
    with h5py.File(path, "w") as file:
        _calibration(file)
        if caption is not None:
            file.create_dataset("caption", data=caption, dtype=h5py.string_dtype())
        _depth(file, motion, depth)
        _body(file, motion)
        _hands(file, motion)
        _imu(file, motion)
        _metadata(file, motion)
        _slam(file, motion, random, suffix)
        file["video/device_timestamp"] = motion.clock
        file["video/frame_number"] = np.arange(script.frames)
        file["video/length_sec"] = script.frames / FPS


def _calibration(file: h5py.File) -> None:
    for camera in range(4):
        group = file.create_group(f"calibration/cam{camera}")
        group["K"] = np.array([_FOCAL + camera, _FOCAL + camera, _MIDDLE, _MIDDLE - camera])
        group["D"] = np.array([0.05, -0.01, 0.002, -0.0005]) * (1 + camera / 10)
        group["T_c_b" if camera == 0 else "T_cn_cnm1"] = T_C0_B if camera == 0 else _beside(camera)
        group["camera_model"] = "pinhole"
        group["distortion_model"] = "equidistant"
    file["calibration/cam01/K"] = np.array([_FOCAL, _FOCAL, _MIDDLE, _MIDDLE])
    file["calibration/cam01/T_c0_b"] = T_C0_B
    file["calibration/cam01/baseline"] = 0.06


def _beside(camera: int) -> Floats:
    """A camera turned a little about its vertical axis, next to the one before it."""
    turn = 0.3 * camera
    matrix = np.eye(4)
    matrix[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)
    matrix[0, 3] = -0.06
    return matrix


def _depth(file: h5py.File, motion: Motion, side: int) -> None:
    """A room at 2 m with the right hand in front of it, seen by the rectified left camera."""
    frames = len(motion.clock)
    depth = file.create_dataset("depth/depth", (frames, side, side), np.float32)
    confidence = file.create_dataset("depth/confidence", (frames, side, side), np.uint8)
    file["depth/scale"] = np.float64(side / (2 * FULL_DEPTH))
    file["depth/depth_min"], file["depth/depth_max"] = DEPTH_MIN, DEPTH_MAX
    scale = side / (2 * FULL_DEPTH)
    wrist = motion.right_hand[:, 0]
    middles = (_MIDDLE + _FOCAL * wrist[:, :2] / wrist[:, 2:]) * scale
    line = np.arange(side)
    room = np.broadcast_to(_ROOM + line[:, None] / side, (side, side)).astype(np.float32)
    for first in range(0, frames, _BLOCK):
        rows = slice(first, min(first + _BLOCK, frames))
        across = abs(line[None, :] - middles[rows, 0, None]) <= 0.1 * side
        down = abs(line[None, :] - middles[rows, 1, None]) <= 0.1 * side
        hand = down[:, :, None] & across[:, None, :]
        depth[rows] = np.where(hand, wrist[rows, 2, None, None].astype(np.float32), room)
        confidence[rows] = np.where(hand, np.uint8(240), np.uint8(160))


def _body(file: h5py.File, motion: Motion) -> None:
    frames = len(motion.clock)
    group = file.create_group("full_body_mocap")
    upright = np.stack(
        [np.cos(motion.turn / 2), 0 * motion.turn, 0 * motion.turn, np.sin(motion.turn / 2)], 1
    )
    group["keypoints"] = motion.body.astype(np.float32)
    group["contacts"] = motion.contacts.astype(np.float32)
    group["Ts_world_root"] = np.hstack([upright, motion.body[:, 0]]).astype(np.float32)
    group["Ts_world_cpf"] = np.hstack([upright, motion.head]).astype(np.float32)
    for name, joints in (("body_quats", 21), ("left_hand_quats", 15), ("right_hand_quats", 15)):
        group[name] = np.tile(np.array([1, 0, 0, 0], np.float32), (frames, joints, 1))
    group["betas"] = np.tile(np.linspace(-0.5, 0.5, 16, dtype=np.float32), (frames, 1))
    group["frame_nums"] = np.arange(frames)


def _hands(file: h5py.File, motion: Motion) -> None:
    frames = len(motion.clock)
    group = file.create_group("hand_mocap")
    identity = np.eye(3, dtype=np.float32).ravel()
    for side, joints in (("left", motion.left_hand), ("right", motion.right_hand)):
        group[f"{side}_joints_3d"] = joints.astype(np.float32)
        group[f"{side}_translation"] = joints[:, 0].astype(np.float32)
        group[f"{side}_mano_hand_pose"] = np.tile(identity, (frames, 15))
        group[f"{side}_mano_hand_global_orient"] = np.tile(identity, (frames, 1))
        group[f"{side}_mano_hand_betas"] = np.zeros((frames, 10), np.float32)


def _imu(file: h5py.File, motion: Motion) -> None:
    file["imu/device_timestamp_ns"] = motion.imu_clock
    file["imu/accel_xyz"] = motion.accel
    file["imu/gyro_xyz"] = motion.gyro
    file["imu/keyframe_indices"] = motion.keyframes


def _metadata(file: h5py.File, motion: Motion) -> None:
    group = file.create_group("metadata")
    group["ground_height"] = 0.0
    group["body_height"] = 1.7
    group["frame_rate"] = FPS
    group["start_timestamp_ns"] = int(motion.clock[0])
    group["device"] = "generated"
    group["version"] = "1"


def _slam(file: h5py.File, motion: Motion, random: np.random.Generator, suffix: str) -> None:
    file["slam/quat_wxyz"] = motion.quaternion
    file["slam/trans_xyz"] = motion.translation
    file["slam/frame_names"] = np.array([f"{time}{suffix}".encode() for time in motion.clock])
    points = min(7000, 40 + len(motion.clock))
    file["slam/point_cloud"] = random.uniform((-3, -3, 0), (3, 3, 2.5), size=(points, 3))

"""`annotation.hdf5`: typed, lazy access to the 65 datasets of formats section 1.2.

Nothing is read before it is asked for, and the depth images only ever by rows. Frame counts, names and
camera poses follow formats section 1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.data.frames import FrameTable
from pipeline.data.layout import LARGE
from pipeline.data.status import first_line
from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError

#: What h5py raises for files that are not what they should be.
BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError)

#: Arrays whose rows count frames where there are no frame names, in the published order.
FALLBACKS = ("hand_mocap/left_joints_3d", "depth/depth", "full_body_mocap/keypoints")

#: Poses exist for the published reader only if all three do.
SLAM = ("slam/quat_wxyz", "slam/trans_xyz", "slam/frame_names")

#: Number of dimensions of arrays that may carry a leading axis of length one.
_WRAPPED = {"full_body_mocap/keypoints": 3, "full_body_mocap/contacts": 2}


@dataclass(frozen=True, slots=True)
class Camera:
    """Calibration of one camera.

    Attributes:
        intrinsics: fx, fy, cx, cy in pixels.
        distortion: four equidistant coefficients; None for the rectified pair.
        transform: 4 x 4, into this camera from the body or from the camera before it.
        transform_name: `T_c_b`, `T_cn_cnm1` or `T_c0_b`, which says from where; empty without one.
    """

    intrinsics: NDArray[np.float64] | None
    distortion: NDArray[np.float64] | None
    transform: NDArray[np.float64] | None
    transform_name: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """All cameras by name (`cam0` ... `cam3`, and `cam01` for the rectified pair), and its baseline in m."""

    cameras: Mapping[str, Camera]
    baseline_m: float | None


@dataclass(frozen=True, slots=True)
class Imu:
    """Inertial samples.

    Attributes:
        timestamps_ns: (M,) device clock.
        accel: (M, 3) m/s^2.
        gyro: (M, 3) rad/s.
        keyframes: (N,) row of each video frame.
    """

    timestamps_ns: NDArray[np.int64]
    accel: NDArray[np.float64]
    gyro: NDArray[np.float64]
    keyframes: NDArray[np.int64]


class Annotation:
    """One open annotation; close it, or use it as a context manager.

    Args:
        path: the file.

    Raises:
        NotFoundError: there is no such file.
        DamagedFileError: it is no HDF5 file, or a torn one.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise NotFoundError(f"{path} does not exist")
        try:
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise DamagedFileError(f"{path} is not a readable HDF5 file: {first_line(error)}") from None
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def has(self, name: str) -> bool:
        """Whether a group or dataset of this name exists (a link to nothing does not)."""
        return self._node(name) is not None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a dataset, without the leading axis of length one that some have; None if it is none."""
        node = self._node(name)
        if not isinstance(node, h5py.Dataset) or node.shape is None:
            return None
        shape: tuple[int, ...] = node.shape
        return shape[1:] if _is_wrapped(name, shape) else shape

    def rows(self, name: str) -> int | None:
        """Length of an array; None if there is no such array."""
        shape = self.shape(name)
        return shape[0] if shape else None

    def array(self, name: str, rows: slice | None = None) -> NDArray[Any]:
        """An array, or some rows of it.

        Raises:
            UsageError: all of an array of gigabytes was asked for.
            NotFoundError: there is no such array.
            DamagedFileError: it cannot be read.
        """
        shape = self.shape(name)
        if not shape:
            raise NotFoundError(f"{self.path} has no array {name}")
        if name in LARGE and rows is None:
            raise UsageError(f"{name} is read by rows only", hint="pass a slice of rows")
        dataset = self._file[name]
        picked = rows if rows is not None else slice(None)
        try:
            values = dataset[0, picked] if _is_wrapped(name, dataset.shape) else dataset[picked]
        except BROKEN as error:
            raise DamagedFileError(f"{name} of {self.path} cannot be read: {first_line(error)}") from None
        return np.asarray(values)

    def number(self, name: str) -> float | None:
        """A scalar number; None if there is none or it is not finite."""
        node = self._node(name)
        if not isinstance(node, h5py.Dataset) or node.size != 1 or node.dtype.kind not in "iuf":
            return None
        try:
            value = float(np.asarray(node[()]).ravel()[0])
        except BROKEN:
            return None
        return value if np.isfinite(value) else None

    def text(self, name: str) -> str | None:
        """A scalar text; None if there is no such dataset.

        Raises:
            DamagedFileError: it is there and cannot be read as text.
        """
        node = self._node(name)
        if not isinstance(node, h5py.Dataset):
            return None
        try:
            value = node[()]
        except BROKEN as error:
            raise DamagedFileError(f"{name} of {self.path} cannot be read: {first_line(error)}") from None
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, str):
            return value
        raise DamagedFileError(f"{name} of {self.path} is no text")

    def timestamps(self, name: str) -> NDArray[np.int64] | None:
        """Device times in ns, stored as numbers or as text; None if absent or if one is no number."""
        if not self.rows(name):
            return None
        values = self.array(name)
        if values.dtype.kind in "iu":
            return values.astype(np.int64).ravel()
        if values.dtype.kind == "f":
            return values.astype(np.int64).ravel() if np.isfinite(values).all() else None
        return FrameTable.of_names(_texts(values)).clock

    def frame_names(self) -> tuple[str, ...]:
        """Image name per frame; empty where the file has none."""
        return tuple(_texts(self.array("slam/frame_names"))) if self.rows("slam/frame_names") else ()

    def frame_count(self) -> int:
        """Number of frames by the published rule, then by the video arrays; 0 if nothing says."""
        names = ["slam/frame_names", *FALLBACKS, "video/device_timestamp", "video/frame_number"]
        if not all(self.has(name) for name in SLAM):
            names = [*FALLBACKS, *names]
        return next((rows for rows in map(self.rows, names) if rows), 0)

    def frame_table(self) -> FrameTable:
        """What captions may call the frames; `video/device_timestamp` where there are no SLAM names."""
        count, names = self.frame_count(), self.frame_names()
        if len(names) != count:
            names = ()
        table = FrameTable.of_names(names) if names else FrameTable(count)
        if table.clock is None:
            clock = self.timestamps("video/device_timestamp")
            if clock is not None and len(clock) == count:
                texts = names or tuple(map(str, clock.tolist()))
                return FrameTable(count, texts, clock)
        return table

    def published_frame_table(self) -> FrameTable:
        """What both published toolkits call the frames."""
        if all(self.has(name) for name in SLAM):
            return FrameTable.of_names(self.frame_names())
        count = next((rows for rows in map(self.rows, FALLBACKS) if rows), 0)
        return FrameTable(count, tuple(f"frame_{index:06d}.jpg" for index in range(count)))

    def calibration(self) -> Calibration | None:
        """All cameras; None without the group."""
        group = self._node("calibration")
        if not isinstance(group, h5py.Group):
            return None
        cameras = {name: self._camera(f"calibration/{name}") for name in group}
        return Calibration(cameras, self.number("calibration/cam01/baseline"))

    def imu(self) -> Imu:
        """All inertial samples; NotFoundError or DamagedFileError like `array`."""
        clock = self.timestamps("imu/device_timestamp_ns")
        if clock is None:
            raise NotFoundError(f"{self.path} has no usable imu/device_timestamp_ns")
        return Imu(
            clock,
            self.array("imu/accel_xyz").astype(np.float64),
            self.array("imu/gyro_xyz").astype(np.float64),
            self.array("imu/keyframe_indices").astype(np.int64).ravel(),
        )

    def camera_poses(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Camera -> world rotations (N, 3, 3) and translations (N, 3) in m, of the rectified left camera.

        The stored pose is world -> body; without `cam01/T_c0_b` the body stands for the camera.
        """
        rotation = rotation_matrices(self.array("slam/quat_wxyz").astype(np.float64))
        translation = self.array("slam/trans_xyz").astype(np.float64)
        pair = self._camera("calibration/cam01").transform if self.has("calibration/cam01") else None
        if pair is not None:
            translation = translation @ pair[:3, :3].T + pair[:3, 3]
            rotation = pair[:3, :3] @ rotation
        inverse = rotation.transpose(0, 2, 1)
        return inverse, -np.einsum("nij,nj->ni", inverse, translation)

    def contact(self) -> NDArray[np.bool_] | None:
        """Whether any body joint touches something, per frame; None without contacts."""
        if not self.rows("full_body_mocap/contacts"):
            return None
        values = self.array("full_body_mocap/contacts")
        return np.asarray((values.reshape(len(values), -1) > 0).any(axis=1), np.bool_)

    def _camera(self, name: str) -> Camera:
        transform = next((key for key in ("T_c_b", "T_cn_cnm1", "T_c0_b") if self.has(f"{name}/{key}")), "")
        matrix = self._numbers(f"{name}/{transform}") if transform else None
        return Camera(
            self._numbers(f"{name}/K"),
            self._numbers(f"{name}/D"),
            matrix if matrix is not None and matrix.shape == (4, 4) else None,
            transform,
        )

    def _numbers(self, name: str) -> NDArray[np.float64] | None:
        shape = self.shape(name)
        return self.array(name).astype(np.float64) if shape else None

    def _node(self, name: str) -> Any:
        try:
            return self._file.get(name)
        except BROKEN:
            return None


def rotation_matrices(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (N, 3, 3) of unit quaternions (N, 4), w first; the length is normalised, zero gives NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    w, x, y, z = unit.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def _is_wrapped(name: str, shape: tuple[int, ...]) -> bool:
    return shape[:1] == (1,) and len(shape) == _WRAPPED.get(name, -1) + 1


def _texts(values: NDArray[Any]) -> list[str]:
    """Names stored as fixed bytes (NUL-padded), text or rows of characters."""
    if values.ndim == 2 and values.dtype.kind in "uS":
        values = np.array([row.tobytes() for row in values], object)
    decoded = (
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values
    )
    return [text.strip("\0 ") for text in decoded]

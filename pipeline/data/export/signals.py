"""The signals of an episode that sensor features are made of, read once for all windows.

Every signal has a status: one that is absent or unreadable yields no values, which `window_features` turns
into 0 with a validity of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.annotation import Calibration
from pipeline.data.episode import Episode, invalid_rows
from pipeline.data.export.depth import depth_signal
from pipeline.data.export.features import Signal
from pipeline.data.export.layout import DEPTH_BLOCK, TEXT_BLOCK, Layout
from pipeline.data.export.text import text_signal
from pipeline.data.frames import Span
from pipeline.data.labels import FrameLabels
from pipeline.data.status import PRESENT, StreamStatus, absent, unreadable
from pipeline.engine.errors import DamagedFileError, NotFoundError

KEYPOINTS, CONTACTS = "full_body_mocap/keypoints", "full_body_mocap/contacts"

#: Points farther from the cloud's centre than this percentile of all are outliers (formats section 1.3).
POINTS_PERCENTILE = 95


@dataclass(slots=True)
class Signals:
    """What could be read, and the status of everything that was to be.

    Attributes:
        values: by block.
        statuses: by block, of usable ones too.
    """

    values: dict[str, Signal] = field(default_factory=dict)
    statuses: dict[str, StreamStatus] = field(default_factory=dict)

    def add(self, block: str, read: Callable[[], Signal]) -> None:
        """Read a block, or note why it cannot be."""
        try:
            self.values[block], self.statuses[block] = read(), PRESENT
        except NotFoundError as error:
            self.statuses[block] = absent(str(error))
        except DamagedFileError as error:
            self.statuses[block] = unreadable(str(error))


def read_signals(
    episode: Episode,
    layout: Layout,
    *,
    labels: FrameLabels | None = None,
    depth_of: Iterable[Span] = (),
) -> Signals:
    """The signals of an episode's annotation; sound and pictures come from `sound` and `pictures`.

    Args:
        episode: open.
        layout: blocks to read.
        labels: whose objects and interactions become the text block. They are annotation, which a model
            that is to predict annotation must not see; None leaves the block empty.
        depth_of: frames whose depth images are read, 328 kB each; none leaves the block empty.
    """
    signals = Signals()
    signals.add("hand_left_joints", lambda: hand_signal(episode, "left"))
    signals.add("hand_right_joints", lambda: hand_signal(episode, "right"))
    signals.add("body_joints", lambda: body_signal(episode))
    signals.add("body_contacts", lambda: Signal(_flat(episode.array(CONTACTS))))
    signals.add("camera_translation", lambda: translation_signal(episode))
    signals.add("camera_rotation_matrix", lambda: rotation_signal(episode))
    signals.add("imu_accel_gyro", lambda: imu_signal(episode))
    signals.add("slam_point_cloud", lambda: points_signal(episode))
    signals.add("calibration", lambda: calibration_signal(episode))
    spans = list(depth_of)
    if spans:
        signals.add(DEPTH_BLOCK, lambda: depth_signal(episode, spans))
    if labels is not None:
        signals.add(TEXT_BLOCK, lambda: text_signal(labels))
    wanted = {block.name: block.channels for block in layout.blocks}
    for block, signal in list(signals.values.items()):
        _keep_whole(signals, block, signal, wanted.get(block))
    return signals


def _keep_whole(signals: Signals, block: str, signal: Signal, channels: int | None) -> None:
    """Drop a block that the layout lacks or that has another shape than it."""
    if channels is None:
        del signals.values[block], signals.statuses[block]
    elif signal.values.shape[-1] != channels:
        del signals.values[block]
        found = signal.values.shape[-1]
        signals.statuses[block] = unreadable(f"{found} numbers per row instead of {channels}")


def hand_signal(episode: Episode, side: str) -> Signal:
    """A hand's joints (N, 63) relative to body joint 0; NaN where hand or body is not seen.

    Without a body the joints stay as they are, as the published features have them.
    """
    joints = episode.array(f"hand_mocap/{side}_joints_3d")
    flat = _flat(joints)
    flat[invalid_rows(joints)] = np.nan
    return Signal(_relative(flat, _root(episode)))


def body_signal(episode: Episode) -> Signal:
    """Body joints (N, 156) in m relative to joint 0; NaN where there is no valid pose."""
    keypoints = episode.array(KEYPOINTS)
    flat = _flat(keypoints)
    flat[invalid_rows(keypoints)] = np.nan
    return Signal(_relative(flat, flat[:, :3]))


def translation_signal(episode: Episode) -> Signal:
    """Camera position in the world (N, 3), m; windows are relative to their first frame."""
    _, translation = episode.annotation.camera_poses()
    return Signal(_masked(episode, translation), from_first=True)


def rotation_signal(episode: Episode) -> Signal:
    """Camera -> world rotation (N, 9), by rows."""
    rotation, _ = episode.annotation.camera_poses()
    return Signal(_masked(episode, _flat(rotation)))


def imu_signal(episode: Episode) -> Signal:
    """Acceleration in m/s^2 and rotation in rad/s (M, 6) at their own rate."""
    imu = episode.annotation.imu()
    rows = min(len(imu.accel), len(imu.gyro))
    values = np.concatenate([imu.accel[:rows], imu.gyro[:rows]], axis=1)
    return Signal(values, rows_of_frame=imu.keyframes)


def points_signal(episode: Episode) -> Signal:
    """Statistics (22,) of the SLAM points: mean, std, min, max, p10, p50, p90 of x, y, z; log1p(count)."""
    points = _flat(episode.array("slam/point_cloud"))
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise NotFoundError("slam/point_cloud has no finite point")
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    points = points[distance <= np.percentile(distance, POINTS_PERCENTILE)]
    parts = [points.mean(axis=0), points.std(axis=0), points.min(axis=0), points.max(axis=0)]
    parts += list(np.percentile(points, [10, 50, 90], axis=0))
    return Signal(np.concatenate([*parts, [np.log1p(len(points))]]))


def calibration_signal(episode: Episode) -> Signal:
    """Calibration (117,): K, D and transform of cam0-cam3, then K, transform and baseline of the pair."""
    calibration = episode.annotation.calibration()
    if calibration is None:
        raise NotFoundError(f"{episode.annotation.path} has no calibration")
    parts = [part for name in ("cam0", "cam1", "cam2", "cam3") for part in _camera(calibration, name, 4)]
    parts += _camera(calibration, "cam01", 0)
    baseline = np.nan if calibration.baseline_m is None else calibration.baseline_m
    return Signal(np.concatenate([*parts, [baseline]]))


def _camera(calibration: Calibration, name: str, distortions: int) -> list[NDArray[np.float64]]:
    camera = calibration.cameras.get(name)
    found = (camera.intrinsics, camera.distortion, camera.transform) if camera else (None, None, None)
    return [_sized(value, size) for value, size in zip(found, (4, distortions, 16), strict=True)]


def _sized(values: NDArray[np.float64] | None, size: int) -> NDArray[np.float64]:
    """`values` if they are `size` numbers, else as many NaN."""
    whole = values is not None and values.size == size
    return values.ravel() if whole and values is not None else np.full(size, np.nan)


def _root(episode: Episode) -> NDArray[np.float64] | None:
    """Body joint 0 (N, 3) in m, NaN where the body is not seen; None without a body."""
    try:
        return body_root(episode)
    except (NotFoundError, DamagedFileError):
        return None


def body_root(episode: Episode) -> NDArray[np.float64]:
    """World position of body joint 0 (N, 3), m, NaN where there is no valid pose; errors as `array`'s."""
    keypoints = episode.array(KEYPOINTS)
    root: NDArray[np.float64] = keypoints[:, 0].astype(np.float64)
    root[invalid_rows(keypoints)] = np.nan
    return root


def _relative(flat: NDArray[np.float64], root: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if root is None:
        return flat
    rows = min(len(flat), len(root))
    return flat[:rows] - np.tile(root[:rows], flat.shape[1] // 3)


def _masked(episode: Episode, values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = values.copy()
    values[invalid_rows(episode.array("slam/quat_wxyz"), episode.array("slam/trans_xyz"))] = np.nan
    return values


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, ...) to (rows, channels)."""
    return values.reshape(len(values), -1).astype(np.float64)

"""Looking at `annotation.hdf5`: does it open, do its arrays agree, do its clocks run, is it calibrated.

Reads shapes, clocks, poses and calibration, and one row at both ends of each large array, to see that its
bytes are there; never the depth images as a whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.data.layout import ANNOTATION
from pipeline.data.qa.calibration import calibration_problems
from pipeline.data.qa.record import Findings, Limits, first_line

#: The groups of a complete annotation (formats section 1.2); the caption beside them is asked for by itself.
GROUPS = (
    "calibration",
    "depth",
    "full_body_mocap",
    "hand_mocap",
    "imu",
    "metadata",
    "slam",
    "video",
)

#: Datasets with one row per video frame.
PER_FRAME = (
    "slam/quat_wxyz",
    "slam/trans_xyz",
    "slam/frame_names",
    "depth/depth",
    "depth/confidence",
    "hand_mocap/left_joints_3d",
    "hand_mocap/right_joints_3d",
    "full_body_mocap/keypoints",
    "full_body_mocap/contacts",
    "imu/keyframe_indices",
    "video/device_timestamp",
    "video/frame_number",
)


#: Dimensions of the arrays that may carry a leading axis of length one, when they do.
_WRAPPED = {"/full_body_mocap/keypoints": 4, "/full_body_mocap/contacts": 3}


def check_annotation(path: Path, limits: Limits) -> tuple[dict[str, Any], Findings]:
    """Facts and findings of an annotation file; never raises for what the file is.

    Facts: `frames`, `seconds` and `fps` by the device clock, `imu_hz`, `imu_drift_s`, `invalid_frames`,
    `caption_bytes`, `segments`, `missing_groups`; absent where the file does not say.
    """
    found = Findings(ANNOTATION)
    facts: dict[str, Any] = {}
    try:
        with h5py.File(path, "r") as file:
            looks = _Looks(file, facts, found, limits)
            for look in (
                looks.groups,
                looks.frames,
                looks.ends,
                looks.video_clock,
                looks.imu,
                looks.keyframes,
                looks.poses,
                looks.calibration,
                looks.caption,
            ):
                try:
                    look()
                except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
                    found.fail("readable", f"{look.__name__} cannot be read: {first_line(error)}")
    except OSError as error:
        found.fail("hdf5_opens", f"not a readable HDF5 file: {first_line(error)}")
    return facts, found


class _Looks:
    """The questions to one open file."""

    def __init__(self, file: h5py.File, facts: dict[str, Any], found: Findings, limits: Limits) -> None:
        self.file = file
        self.facts = facts
        self.found = found
        self.limits = limits

    def groups(self) -> None:
        missing = self.facts["missing_groups"] = [name for name in GROUPS if name not in self.file]
        self.found.warn_if(bool(missing), "groups", f"without {', '.join(missing)}")

    def frames(self) -> None:
        counts = {name: _rows(self.file[name]) for name in PER_FRAME if _is_array(self.file, name)}
        if not counts:
            self.found.fail("frames", "no array has frames")
            return
        ((frames, _),) = Counter(counts.values()).most_common(1)
        self.facts["frames"] = frames
        odd = [f"{name} has {rows}" for name, rows in counts.items() if rows != frames]
        if odd:
            self.found.fail("frames_agree", f"most arrays have {frames} frames, but {', '.join(odd)}")
        if frames < self.limits.min_frames:
            self.found.fail(
                "min_frames", f"{frames} frames are fewer than one window of {self.limits.min_frames}"
            )
        elif frames < self.limits.context_frames:
            self.found.warn(
                "context_frames", f"{frames} frames are fewer than a context of {self.limits.context_frames}"
            )

    def ends(self) -> None:
        """The first and last row of every array can be read; a torn file fails at its last."""
        for name in _arrays(self.file):
            dataset = self.file[name]
            if dataset.shape[0]:
                try:
                    dataset[0], dataset[-1]
                except OSError as error:
                    self.found.fail("readable", f"{name} cannot be read to its end: {first_line(error)}")

    def video_clock(self) -> None:
        if not _is_array(self.file, "video/device_timestamp"):
            self.found.warn("video_clock", "no video/device_timestamp")
            return
        steps = np.diff(timestamps(self.file["video/device_timestamp"][:])) / 1e9
        if not steps.size:
            return
        limits, middle = self.limits, float(np.median(steps))
        self.facts["seconds"] = round(float(steps.sum()) + 1 / limits.fps, 6)
        back = int((steps <= 0).sum())
        self.found.warn_if(back > 0, "video_clock_monotonic", f"{back} frame timestamps do not increase")
        gaps = int((steps > limits.gap_frames / limits.fps).sum())
        self.found.warn_if(gaps > 0, "video_clock_gaps", f"{gaps} gaps, the longest {steps.max():.3f} s")
        if middle > 0:
            fps = self.facts["fps"] = round(1 / middle, 4)
            wrong = abs(fps - limits.fps) > limits.clock_fps_slack
            self.found.warn_if(wrong, "video_clock_rate", f"{fps} frames per second by the device clock")

    def imu(self) -> None:
        if not _is_array(self.file, "imu/device_timestamp_ns"):
            self.found.warn("imu_clock", "no imu/device_timestamp_ns")
            return
        clock = timestamps(self.file["imu/device_timestamp_ns"][:])
        for name in ("imu/accel_xyz", "imu/gyro_xyz"):
            rows = self.file[name].shape[0] if _is_array(self.file, name) else clock.size
            self.found.warn_if(
                rows != clock.size,
                "imu_rows",
                f"{name} has {rows} rows, but there are {clock.size} timestamps",
            )
        back = int((np.diff(clock) <= 0).sum())
        self.found.warn_if(back > 0, "imu_clock_monotonic", f"{back} IMU timestamps do not increase")
        span = float(clock[-1] - clock[0]) / 1e9 if clock.size > 1 else 0.0
        if span <= 0:
            return
        limits = self.limits
        rate = self.facts["imu_hz"] = round((clock.size - 1) / span, 3)
        self.found.warn_if(
            abs(rate - limits.imu_hz) > limits.imu_slack_hz, "imu_rate", f"{rate} Hz, not {limits.imu_hz:g}"
        )
        drift = self.facts["imu_drift_s"] = round(span - self.facts.get("seconds", span), 4)
        self.found.warn_if(
            abs(drift) > limits.drift_s,
            "imu_drift",
            f"the IMU's clock runs {drift:+.3f} s against the video's",
        )

    def keyframes(self) -> None:
        if not _is_array(self.file, "imu/keyframe_indices") or not _is_array(self.file, "imu/accel_xyz"):
            return
        rows = self.file["imu/accel_xyz"].shape[0]
        keys = np.asarray(self.file["imu/keyframe_indices"][:], np.int64)
        outside = int(((keys < 0) | (keys >= rows)).sum())
        self.found.warn_if(
            outside > 0, "imu_keyframes", f"{outside} keyframe indices are outside {rows} rows"
        )
        self.found.warn_if(bool((np.diff(keys) < 0).any()), "imu_keyframes_order", "keyframe indices go back")

    def poses(self) -> None:
        """The official validity rule: a NaN in body or camera pose, or nothing but zeros (formats 1.3)."""
        self.facts["invalid_frames"] = {}
        for name, invalid in _invalid(self.file):
            count, share = int(invalid.sum()), float(invalid.mean()) if invalid.size else 0.0
            self.facts["invalid_frames"][name] = count
            wrong = share > self.limits.invalid_share
            self.found.warn_if(wrong, f"{name}_valid", f"{count} frames without a valid {name}")

    def calibration(self) -> None:
        group = self.file.get("calibration")
        if isinstance(group, h5py.Group):
            for problem in calibration_problems(group):
                self.found.warn("calibration", problem)

    def caption(self) -> None:
        name = next((name for name in ("caption", "captions") if name in self.file), None)
        if name is None:
            self.found.note("caption", "no caption, so no labels")
            return
        raw = self.file[name][()]
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        self.facts["caption_bytes"] = len(text.encode())
        if not text.lstrip().startswith(("{", "[")):
            self.found.note("caption_path", f"the caption is a path or plain text: {text[:120]!r}")
            return
        try:
            caption = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            self.found.warn("caption_json", f"the caption is not JSON: {first_line(error)}")
            return
        segments = caption.get("segments") if isinstance(caption, dict) else None
        self.facts["segments"] = len(segments) if isinstance(segments, list) else 0
        if not self.facts["segments"]:
            self.found.note("caption_segments", "a caption without segments, so no labels")


def _invalid(file: h5py.File) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if _is_array(file, "full_body_mocap/keypoints"):
        keypoints = np.asarray(file["full_body_mocap/keypoints"][:])
        # Some files carry a leading axis of length one.
        yield "body_pose", _bad_rows(keypoints[0] if keypoints.ndim == 4 else keypoints)
    if _is_array(file, "slam/quat_wxyz") and _is_array(file, "slam/trans_xyz"):
        turn, place = np.asarray(file["slam/quat_wxyz"][:]), np.asarray(file["slam/trans_xyz"][:])
        rows = min(len(turn), len(place))
        yield "camera_pose", _bad_rows(turn[:rows], place[:rows])


def _bad_rows(*parts: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows with a NaN in any part, or with nothing but zeros in all of them."""
    flat = np.concatenate([part.reshape(len(part), -1).astype(np.float64) for part in parts], axis=1)
    bad: NDArray[np.bool_] = np.logical_or(~np.isfinite(flat).all(axis=1), ~flat.any(axis=1))
    return bad


def timestamps(values: NDArray[Any]) -> NDArray[np.int64]:
    """Device times in ns, stored as integers or as text; text that is no such number counts as 0."""
    if values.dtype.kind in "iuf":
        whole: NDArray[np.int64] = np.nan_to_num(values).astype(np.int64)
        return whole
    texts = (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value) for value in values)
    stems = (text.strip("\0 ").partition(".")[0] for text in texts)
    return np.array([int(stem) if stem.isdecimal() and len(stem) < 19 else 0 for stem in stems], np.int64)


def _rows(dataset: h5py.Dataset) -> int:
    """Rows of a per-frame array; keypoints and contacts may carry a leading axis of length one."""
    wrapped = dataset.shape[0] == 1 and _WRAPPED.get(dataset.name) == len(dataset.shape)
    return int(dataset.shape[1] if wrapped else dataset.shape[0])


def _is_array(file: h5py.File, name: str) -> bool:
    node = file.get(name)
    return isinstance(node, h5py.Dataset) and bool(node.shape)


def _arrays(file: h5py.File) -> list[str]:
    names: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape:
            names.append(name)

    file.visititems(visit)
    return names

"""Looking at `annotation.hdf5`: does it open, do its arrays agree, do its clocks run, is it calibrated.

Reads shapes, clocks, poses and calibration, and one row at both ends of each large array, to see that its
bytes are there; never the depth images as a whole.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.data.annotation import BROKEN, Annotation
from pipeline.data.captions import caption_json, parse_caption
from pipeline.data.episode import invalid_rows
from pipeline.data.layout import ANNOTATION
from pipeline.data.qa.calibration import calibration_problems
from pipeline.data.qa.record import Findings, Limits
from pipeline.data.status import first_line
from pipeline.engine.errors import DamagedFileError, XopsError

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


#: Poses by the arrays that make one.
POSES = {
    "body_pose": ("full_body_mocap/keypoints",),
    "camera_pose": ("slam/quat_wxyz", "slam/trans_xyz"),
}


def check_annotation(path: Path, limits: Limits) -> tuple[dict[str, Any], Findings]:
    """Facts and findings of an annotation file; never raises for what the file is.

    Facts: `frames`, `seconds` and `fps` by the device clock, `imu_hz`, `imu_drift_s`, `invalid_frames`,
    `caption_bytes`, `segments`, `missing_groups`; absent where the file does not say.
    """
    found = Findings(ANNOTATION)
    facts: dict[str, Any] = {}
    try:
        with Annotation(path) as file:
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
                except (*BROKEN, XopsError) as error:
                    found.fail("readable", f"{look.__name__} cannot be read: {first_line(error)}")
    except DamagedFileError as error:
        found.fail("hdf5_opens", str(error).removeprefix(f"{path} is "))
    return facts, found


class _Looks:
    """The questions to one open file."""

    def __init__(self, file: Annotation, facts: dict[str, Any], found: Findings, limits: Limits) -> None:
        self.file = file
        self.facts = facts
        self.found = found
        self.limits = limits

    def groups(self) -> None:
        missing = self.facts["missing_groups"] = [name for name in GROUPS if not self.file.has(name)]
        self.found.warn_if(bool(missing), "groups", f"without {', '.join(missing)}")

    def frames(self) -> None:
        counts = {name: rows for name in PER_FRAME if (rows := self.file.rows(name)) is not None}
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
        with h5py.File(self.file.path, "r", locking=False) as file:
            for name in _arrays(file):
                dataset = file[name]
                if dataset.shape[0]:
                    try:
                        dataset[0], dataset[-1]
                    except OSError as error:
                        self.found.fail("readable", f"{name} cannot be read to its end: {first_line(error)}")

    def video_clock(self) -> None:
        clock = self.file.timestamps("video/device_timestamp")
        if clock is None:
            self.found.warn("video_clock", "no usable video/device_timestamp")
            return
        steps = np.diff(clock) / 1e9
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
        clock = self.file.timestamps("imu/device_timestamp_ns")
        if clock is None:
            self.found.warn("imu_clock", "no usable imu/device_timestamp_ns")
            return
        for name in ("imu/accel_xyz", "imu/gyro_xyz"):
            rows = self.file.rows(name)
            wrong = rows is not None and rows != clock.size
            self.found.warn_if(wrong, "imu_rows", f"{name} has {rows} rows for {clock.size} timestamps")
        back = int((np.diff(clock) <= 0).sum())
        self.found.warn_if(back > 0, "imu_clock_monotonic", f"{back} IMU timestamps do not increase")
        span = float(clock[-1] - clock[0]) / 1e9 if clock.size > 1 else 0.0
        if span > 0:
            self._imu_rate((clock.size - 1) / span, span)

    def _imu_rate(self, hertz: float, span: float) -> None:
        limits = self.limits
        self.facts["imu_hz"] = round(hertz, 3)
        wrong = abs(hertz - limits.imu_hz) > limits.imu_slack_hz
        self.found.warn_if(wrong, "imu_rate", f"{hertz:.3f} Hz, not {limits.imu_hz:g}")
        drift = self.facts["imu_drift_s"] = round(span - self.facts.get("seconds", span), 4)
        self.found.warn_if(
            abs(drift) > limits.drift_s,
            "imu_drift",
            f"the IMU's clock runs {drift:+.3f} s against the video's",
        )

    def keyframes(self) -> None:
        rows = self.file.rows("imu/accel_xyz")
        if rows is None or not self.file.rows("imu/keyframe_indices"):
            return
        keys = self.file.array("imu/keyframe_indices").astype(np.int64)
        outside = int(((keys < 0) | (keys >= rows)).sum())
        self.found.warn_if(
            outside > 0, "imu_keyframes", f"{outside} keyframe indices are outside {rows} rows"
        )
        self.found.warn_if(bool((np.diff(keys) < 0).any()), "imu_keyframes_order", "keyframe indices go back")

    def poses(self) -> None:
        """The official validity rule: a NaN in body or camera pose, or nothing but zeros (formats 1.3)."""
        self.facts["invalid_frames"] = {}
        for name, arrays in POSES.items():
            if not all(self.file.rows(array) for array in arrays):
                continue
            invalid = invalid_rows(*(self.file.array(array) for array in arrays))
            count = self.facts["invalid_frames"][name] = int(invalid.sum())
            wrong = count > self.limits.invalid_share * invalid.size
            self.found.warn_if(wrong, f"{name}_valid", f"{count} frames without a valid {name}")

    def calibration(self) -> None:
        with h5py.File(self.file.path, "r", locking=False) as file:
            group = file.get("calibration")
            if isinstance(group, h5py.Group):
                for problem in calibration_problems(group):
                    self.found.warn("calibration", problem)

    def caption(self) -> None:
        text = self.file.text("caption")
        text = self.file.text("captions") if text is None else text
        if text is None:
            self.found.note("caption", "no caption, so no labels")
            return
        self.facts["caption_bytes"] = len(text.encode("utf-8", "replace"))
        if not text.lstrip("\0 \t\r\n").startswith(("{", "[")):
            self.found.note("caption_path", f"the caption is a path or plain text: {text[:120]!r}")
        try:
            caption = parse_caption(caption_json(text, self.file.path.parent))
        except DamagedFileError as error:
            self.found.warn("caption_json", str(error))
            return
        self.facts["segments"] = len(caption.segments)
        if caption.problem_count:
            self.found.warn("caption_parts", f"{caption.problem_count} parts left out: {caption.problems[0]}")
        if not caption.segments:
            self.found.note("caption_segments", "a caption without segments, so no labels")


def _arrays(file: h5py.File) -> list[str]:
    names: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape:
            names.append(name)

    file.visititems(visit)
    return names

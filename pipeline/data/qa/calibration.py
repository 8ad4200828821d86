"""Ranges a calibration must keep: pixels, rotations, metres (formats section 1.2)."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

#: Largest focal length or principal point taken for pixels, distortion coefficient, and camera offset in m.
MAX_PIXELS, MAX_DISTORTION, MAX_OFFSET_M = 10_000, 10, 2.0

#: Stereo baselines a head can carry, metres.
BASELINE_M = (0.005, 1.0)


def calibration_problems(group: h5py.Group) -> Iterator[str]:
    """What is wrong with the group `calibration`, one sentence per value, naming the camera."""
    for camera, node in group.items():
        if isinstance(node, h5py.Group):
            for problem in _camera_problems(node):
                yield f"{camera}: {problem}"


def _camera_problems(node: h5py.Group) -> Iterator[str]:
    for key, dataset in node.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
            continue
        values = np.asarray(dataset[()], np.float64)
        if not np.isfinite(values).all():
            yield f"{key} is not finite"
        elif key == "K" and not (values.size == 4 and (values > 0).all() and (values < MAX_PIXELS).all()):
            yield f"K {values.round(2).tolist()} is no fx, fy, cx, cy in pixels"
        elif key == "D" and np.abs(values).max(initial=0) > MAX_DISTORTION:
            yield f"distortion up to {np.abs(values).max():.3g}"
        elif key.startswith("T_") and (problem := _rigid_problem(values)):
            yield f"{key} {problem}"
        elif key == "baseline" and not BASELINE_M[0] <= abs(float(values.ravel()[0])) <= BASELINE_M[1]:
            yield f"baseline {float(values.ravel()[0]):.3g} m"


def _rigid_problem(matrix: NDArray[np.float64]) -> str:
    if matrix.shape != (4, 4):
        return f"has shape {matrix.shape}"
    turn = matrix[:3, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
        return "is no rotation"
    if np.abs(matrix[:3, 3]).max() > MAX_OFFSET_M:
        return f"moves by {np.abs(matrix[:3, 3]).max():.2f} m"
    return ""

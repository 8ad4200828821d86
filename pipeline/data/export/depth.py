"""Depth and confidence of a frame as 140 numbers.

The published feature has 140 channels per frame from a grid of 8 x 8; its inner order is not established.
Ours: 64 means of valid depth in m and 64 of confidence in 0-1, by rows of the grid, then mean, deviation,
least, greatest, range and valid share of depth, and the first five of confidence with its share above 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.data.episode import Episode
from pipeline.data.export.features import Signal
from pipeline.data.frames import Span

GRID = 8
CHANNELS = 140

#: Frames read at once: 64 x 328 kB.
_SLICE = 64

#: Confidence is a byte.
_FULL_SCALE = 255.0


def depth_signal(episode: Episode, spans: Sequence[Span]) -> Signal:
    """Depth features of the frames of `spans`, NaN for all others; every frame is read once.

    Raises:
        NotFoundError, DamagedFileError: one of the two arrays is not there or cannot be read.
    """
    rows = min(episode.annotation.rows("depth/depth") or 0, episode.annotation.rows("depth/confidence") or 0)
    wanted = np.zeros(rows, bool)
    for start, end in spans:
        wanted[start : end + 1] = True
    values = np.full((rows, CHANNELS), np.nan)
    if not rows:
        episode.array("depth/depth", slice(0, 0))
        episode.array("depth/confidence", slice(0, 0))
    for start, end in _runs(wanted):
        part = slice(start, end)
        values[part] = depth_channels(
            episode.array("depth/depth", part), episode.array("depth/confidence", part)
        )
    return Signal(values)


def depth_channels(depth: NDArray[np.float32], confidence: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(frames, 140) of depth images in m, 0 or non-finite where invalid, and confidence in 0-255."""
    depth = depth.astype(np.float32, copy=False)
    valid = np.isfinite(depth) & (depth > 0)
    depth = np.where(valid, depth, 0)
    trust = confidence.astype(np.float32) / np.float32(_FULL_SCALE)
    counts = _grid_sum(valid)
    cells = _grid_sum(np.ones_like(trust[:1]))
    grid = np.divide(_grid_sum(depth), counts, out=np.zeros_like(counts), where=counts > 0)
    return np.concatenate(
        [grid, _grid_sum(trust) / cells, _summary(depth, valid), _summary(trust, trust > 0)],
        axis=1,
    )


def _summary(images: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean, deviation, least, greatest, range of what is valid, and its share: (frames, 6)."""
    axes = (1, 2)
    count = np.maximum(valid.sum(axis=axes), 1)
    mean = np.where(valid, images, 0).sum(axis=axes, dtype=np.float64) / count
    square = np.where(valid, images * images, 0).sum(axis=axes, dtype=np.float64) / count
    any_valid = valid.any(axis=axes)
    least = np.where(any_valid, images.min(axis=axes, where=valid, initial=np.inf), 0)
    most = np.where(any_valid, images.max(axis=axes, where=valid, initial=-np.inf), 0)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.stack([mean, deviation, least, most, most - least, valid.mean(axis=axes)], axis=1)


def _grid_sum(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """Sums over the cells of the grid: (frames, 64)."""
    frames, height, width = images.shape
    rows = np.linspace(0, height, GRID, endpoint=False).astype(int)
    columns = np.linspace(0, width, GRID, endpoint=False).astype(int)
    by_rows = np.add.reduceat(images, rows, axis=1, dtype=np.float64)
    return np.add.reduceat(by_rows, columns, axis=2).reshape(frames, -1)


def _runs(wanted: NDArray[np.bool_]) -> list[Span]:
    """Consecutive wanted rows, end outside, at most `_SLICE` of them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(int)))
    return [
        (first, min(first + _SLICE, int(last)))
        for start, last in edges.reshape(-1, 2)
        for first in range(int(start), int(last), _SLICE)
    ]

"""Pictures of one camera as 98 numbers per frame, for the full feature layout.

The published feature has 98 channels from a picture of 32 x 32; their inner order is not established. Ours:
64 mean greys of an 8 x 8 grid, eight shares of a histogram for each of R, G, B, then mean R, G, B, deviation
of R, G, B, mean and deviation of grey, and mean absolute step to the right and down. All in 0-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.data.export.features import Signal
from pipeline.data.export.layout import VIDEO_BLOCKS

SIZE, GRID, BINS, CHANNELS = 32, 8, 8, 98


class PictureStatistics:
    """Collects the channels of all cameras for some frames of an episode of `count` frames."""

    def __init__(self, frames: Iterable[int], count: int) -> None:
        self.frames = set(frames)
        self._values = {name: np.full((count, CHANNELS), np.nan) for name in VIDEO_BLOCKS if self.frames}
        self._scaler = VideoReformatter()

    def accept(self, index: int, frames: Mapping[str, Any]) -> None:
        """Take one frame of all cameras that have it."""
        if index in self.frames:
            for name, frame in frames.items():
                small = self._scaler.reformat(frame, SIZE, SIZE, "rgb24", interpolation="AREA")
                self._values[name][index] = picture_channels(np.asarray(small.to_ndarray(), np.uint8))

    def signals(self) -> dict[str, Signal]:
        """By block; frames that were not asked for or that a camera lacks are NaN."""
        return {VIDEO_BLOCKS[name]: Signal(values) for name, values in self._values.items()}


def picture_channels(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 98 numbers of a 32 x 32 RGB picture."""
    values = picture.astype(np.float64) / 255
    grey = values.mean(axis=2)
    cell = SIZE // GRID
    grid = grey.reshape(GRID, cell, GRID, cell).mean(axis=(1, 3)).ravel()
    bins = picture // (256 // BINS)
    histograms = [np.bincount(bins[..., c].ravel(), minlength=BINS) / SIZE**2 for c in range(3)]
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (1, 0)]
    return np.concatenate(
        [
            grid,
            *histograms,
            values.mean(axis=(0, 1)),
            values.std(axis=(0, 1)),
            [grey.mean(), grey.std(), *steps],
        ]
    )

"""Sensor features of windows: the statistics of every signal over a window's frames (formats section 1.4).

A window whose frames are all valid gets exactly the documented statistics. Frames without a valid value (a
NaN, a pose of zeros, rows that the file lacks) are left out of the statistics; a block without any valid
frame is 0, and `valid` says so, because zeros alone would look like a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.export.layout import STATISTICS, Block, Layout
from pipeline.data.frames import Span


@dataclass(frozen=True, slots=True)
class Signal:
    """One block's values over an episode.

    Attributes:
        values: (rows, channels), NaN where there is no valid value; (channels,) if it does not change.
        rows_of_frame: first row of each frame where rows are not frames (IMU); a window's rows go from the
            first of its first frame to the first of its last, both inside.
        from_first: whether a window's values are relative to its first valid row.
    """

    values: NDArray[np.float64]
    rows_of_frame: NDArray[np.int64] | None = None
    from_first: bool = False

    def window(self, start: int, end: int) -> NDArray[np.float64]:
        """Rows of the frames `start` to `end`, both inside; fewer where the signal is shorter."""
        if self.rows_of_frame is None:
            return self.values[start : end + 1]
        keys = self.rows_of_frame[start : end + 1]
        return self.values[max(0, int(keys[0])) : int(keys[-1]) + 1] if len(keys) else self.values[:0]


@dataclass(frozen=True, slots=True)
class Features:
    """Feature vectors of several windows.

    Attributes:
        values: (windows, numbers) float32.
        valid: (windows, blocks) float32, share of the rows that each block's statistics rest on; of the
            numbers, where the block does not change.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.float32]


def window_features(signals: Mapping[str, Signal], layout: Layout, windows: Iterable[Span]) -> Features:
    """Feature vectors of `windows` (first and last frame, both inside).

    Args:
        signals: by block name, as `pipeline.data.export.signals.read_signals` returns them; a block that is
            not there is 0 and 0 % valid.
        layout: what the vector holds.
        windows: in the order of the result.
    """
    spans = list(windows)
    values = np.zeros((len(spans), layout.dim), np.float32)
    valid = np.zeros((len(spans), len(layout.blocks)), np.float32)
    for column, block in enumerate(layout.blocks):
        signal = signals.get(block.name)
        if signal is None:
            continue
        for row, (start, end) in enumerate(spans):
            found, share = _block(signal, block, start, end)
            values[row, block.start : block.end], valid[row, column] = found, share
    return Features(values, valid)


def statistics(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The seven statistics of (rows, channels), one after the other for all channels; see `STATISTICS`.

    The statistics of differences are 0 for a single row.
    """
    steps = np.diff(rows, axis=0) if len(rows) > 1 else np.zeros_like(rows)
    return np.concatenate(
        [
            rows.mean(axis=0),
            rows.std(axis=0),
            rows.min(axis=0),
            rows.max(axis=0),
            rows[-1] - rows[0],
            steps.mean(axis=0),
            steps.std(axis=0),
        ]
    )


def _block(signal: Signal, block: Block, start: int, end: int) -> tuple[NDArray[np.float64], float]:
    if not block.changes:
        return np.nan_to_num(signal.values), float(np.isfinite(signal.values).mean())
    rows = signal.window(start, end)
    usable = rows[np.isfinite(rows).all(axis=1)]
    if not len(usable):
        return np.zeros(block.channels * len(STATISTICS)), 0.0
    if signal.from_first:
        usable = usable - usable[0]
    expected = end - start + 1 if signal.rows_of_frame is None else len(rows)
    return statistics(usable), len(usable) / expected

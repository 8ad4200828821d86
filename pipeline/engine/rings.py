"""Bounded series of numbers: whole curves that thin themselves, and the recent past for rates.

Both hold plain doubles (24 bytes a point), so two hundred logs of any length stay within a few megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    Doubles = array[float]
else:
    Doubles = array  # not subscriptable at run time before Python 3.12

#: Points of a curve; a terminal is rarely wider, and thinning keeps at least half of them.
CURVE_POINTS = 512

#: Points a rate is computed from.
RECENT_POINTS = 64


def _doubles() -> Doubles:
    return array("d")


class Curve(msgspec.Struct):
    """A series over the whole life of a log; when full, every second point goes.

    The kept points are those whose number is a multiple of `stride`, whatever the sizes of the batches
    they came in. The newest point is always known (`last`).

    Attributes:
        xs, ys, ts: x value (step, sample, bytes), y value and Unix seconds of each kept point.
        stride: one of so many points is kept.
        count: points seen.
        last: the newest point (x, y, t), or None.
    """

    xs: Doubles = msgspec.field(default_factory=_doubles)
    ys: Doubles = msgspec.field(default_factory=_doubles)
    ts: Doubles = msgspec.field(default_factory=_doubles)
    stride: int = 1
    count: int = 0
    last: tuple[float, float, float] | None = None

    def wanted(self, number: int) -> slice:
        """Which of the next `number` points will be kept; pass exactly those to `extend`."""
        return slice(-self.count % self.stride, number, self.stride)

    def extend(
        self,
        number: int,
        points: tuple[Sequence[float], Sequence[float], Sequence[float]],
        last: tuple[float, float, float],
    ) -> None:
        """Take in `number` new points, given only the wanted ones and the last."""
        xs, ys, ts = points
        self.xs.extend(xs)
        self.ys.extend(ys)
        self.ts.extend(ts)
        self.count += number
        self.last = last
        while len(self.xs) > CURVE_POINTS:
            del self.xs[1::2], self.ys[1::2], self.ts[1::2]
            self.stride *= 2

    def append(self, x: float, y: float, t: float) -> None:
        """Take in one point."""
        keep = self.count % self.stride == 0
        self.extend(1, ((x,), (y,), (t,)) if keep else ((), (), ()), (x, y, t))


class Recent(msgspec.Struct):
    """The newest points (t, done) of a count that grows."""

    ts: Doubles = msgspec.field(default_factory=_doubles)
    ys: Doubles = msgspec.field(default_factory=_doubles)

    def extend(self, ts: Sequence[float], ys: Sequence[float]) -> None:
        """Add points, oldest first; only the newest are kept."""
        self.ts.extend(ts[-RECENT_POINTS:])
        self.ys.extend(ys[-RECENT_POINTS:])
        extra = len(self.ts) - RECENT_POINTS
        if extra > 0:
            del self.ts[:extra], self.ys[:extra]

    def clear(self) -> None:
        """Forget everything: a new attempt has its own speed."""
        del self.ts[:], self.ys[:]

    def rates(self, parts: int = 8) -> tuple[float, float, float] | None:
        """(low, mean, high) units per second over the recent past; None if it does not move.

        Low and high are the second slowest and second fastest of `parts` equal spans, so that one pause
        or one burst does not set the band.
        """
        if len(self.ts) < 2 or self.ts[-1] <= self.ts[0] or self.ys[-1] <= self.ys[0]:
            return None
        mean = (self.ys[-1] - self.ys[0]) / (self.ts[-1] - self.ts[0])
        step = max(1, (len(self.ts) - 1) // parts)
        corners = range(0, len(self.ts), step)
        speeds = sorted(
            (self.ys[b] - self.ys[a]) / (self.ts[b] - self.ts[a])
            for a, b in pairwise(corners)
            if self.ts[b] > self.ts[a]
        )
        if len(speeds) >= 4:
            speeds = speeds[1:-1]
        low = min(mean, speeds[0]) if speeds else mean
        high = max(mean, speeds[-1]) if speeds else mean
        return (max(low, 0.0), mean, high)

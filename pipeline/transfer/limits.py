"""What an operator may change while bytes move, and how the bandwidth cap is kept."""

from __future__ import annotations

import asyncio
import contextlib
import time

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """How hard a transfer may work.

    Attributes:
        lanes: most connections at a time.
        adaptive: begin with few connections and add more only while that makes it faster.
        bandwidth: most bytes per second over all connections; 0 for no cap.
        paused: send nothing more for now; connections stay open.
    """

    lanes: int = 8
    adaptive: bool = True
    bandwidth: int = 0
    paused: bool = False


class Bucket:
    """A bandwidth cap shared by everything that acquires from it; the rate may change at any time.

    Args:
        rate: bytes per second; 0 for no cap.

    A caller may overdraw the bucket once and waits until its debt is paid, so that pieces larger than a
    second's worth pass too.
    """

    def __init__(self, rate: int = 0) -> None:
        self._rate = rate
        self._level = 0.0
        self._at = time.monotonic()
        self._changed = asyncio.Event()

    @property
    def rate(self) -> int:
        """Bytes per second; 0 for no cap."""
        return self._rate

    @rate.setter
    def rate(self, rate: int) -> None:
        self._fill()
        self._rate = rate
        self._level = min(self._level, 0.0 if not rate else self._level)
        self._changed.set()

    async def acquire(self, size: int) -> None:
        """Wait until `size` more bytes may be moved."""
        if not self._rate:
            return
        self._fill()
        self._level -= size
        while self._rate and self._level < 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(-self._level / self._rate):
                    await self._changed.wait()
            self._fill()

    def _fill(self) -> None:
        now = time.monotonic()
        # A tenth of a second may be saved up: enough to be smooth, too little for a burst.
        self._level = min(self._level + (now - self._at) * self._rate, self._rate / 10)
        self._at = now


class Climber:
    """How many connections are worth having, learned from the rates they gave.

    Adds one while the last one paid; gives one back when it did not; begins again when the rate falls to
    half, because then the line has changed.

    Args:
        first: connections to begin with.
        gain: the least a connection must add, as a factor.
    """

    def __init__(self, first: int = 6, gain: float = 1.05) -> None:
        self.lanes = first
        self._gain = gain
        self._best = 0.0
        self._growing = True

    def learn(self, rate: float, most: int) -> int:
        """The number to have next, after a while at `rate` bytes per second; never above `most`."""
        if rate < self._best / 2:
            self._best, self._growing = rate, True
        elif self._growing and rate > self._best * self._gain:
            self._best = rate
            self.lanes += 1
        elif self._growing:
            self._growing = False
            self.lanes -= 1 if self._best and self.lanes > 1 else 0
        self.lanes = max(1, min(self.lanes, most))
        return self.lanes

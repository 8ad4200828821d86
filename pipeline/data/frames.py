"""What captions call the frames of an episode, and which frame each name means.

Captions refer to frames by device timestamp (number or text), by image name, by `frame_0000021` or by a small
1-based number, mixed inside one segment (formats section 1.5). Two published toolkits read these differently;
all three of their readings and ours are here:

default   an exact name or stem; a large number is the nearest device timestamp; a small one counts from 1.
          Without SLAM names the timestamps of `video/device_timestamp` stand in for them.
current   the toolkit of today: the same rules, but without SLAM names frames are called `frame_000000.jpg`,
          so that timestamps mean nothing.
older     the toolkit as mirrored in May 2026: any number is the nearest frame name, `frame_0000021` means
          nothing, a segment's small bounds count from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

ResolverName = Literal["default", "current", "older"]

#: Numbers from here on are device timestamps (ns of up-time), smaller ones count frames.
TIMESTAMP_FROM = 100_000_000

_SEQUENTIAL = re.compile(r"frame_([0-9]{1,18})")
_NUMBER = re.compile(r"-?[0-9]{1,18}")

#: A reference as captions write it, as text; None where they write nothing.
Reference = str | None

#: First and last frame, both inside.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The frames of an episode by name and by time.

    Attributes:
        count: number of frames.
        names: image name per frame; empty where the episode has none.
        clock: device timestamp per frame in ns; None where it has none.
    """

    count: int
    names: tuple[str, ...] = ()
    clock: NDArray[np.int64] | None = None
    _by_name: dict[str, int] = field(init=False, repr=False, compare=False)
    _sorted: tuple[NDArray[np.int64], NDArray[np.intp]] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, int] = {}
        for index, name in enumerate(self.names):
            by_name.setdefault(name, index)
        for index, name in enumerate(self.names):
            by_name.setdefault(stem(name), index)
        object.__setattr__(self, "_by_name", by_name)
        order = None
        if self.clock is not None and self.clock.size:
            rows = np.argsort(self.clock, kind="stable")
            order = (self.clock[rows], rows)
        object.__setattr__(self, "_sorted", order)

    @classmethod
    def of_names(cls, names: Sequence[str]) -> FrameTable:
        """A table whose clock is whatever numbers the names are; none if one of them is no number."""
        stems = [stem(name) for name in names]
        numbers = bool(stems) and all(_NUMBER.fullmatch(text) for text in stems)
        clock = np.array([int(text) for text in stems], np.int64) if numbers else None
        return cls(len(names), tuple(names), clock)

    def named(self, reference: str) -> int | None:
        """The frame with exactly this name or stem."""
        found = self._by_name.get(reference)
        return self._by_name.get(stem(reference)) if found is None else found

    def nearest(self, timestamp: int) -> int | None:
        """The frame closest in time; the earlier one of two that are equally close."""
        if self._sorted is None:
            return None
        times, rows = self._sorted
        right = int(np.searchsorted(times, timestamp))
        left = right - 1
        if right == len(times) or (left >= 0 and timestamp - times[left] <= times[right] - timestamp):
            right = int(np.searchsorted(times, times[left]))
        return int(rows[right])

    def clamped(self, index: int) -> int | None:
        """`index` moved into the episode; None if that has no frames."""
        return min(max(index, 0), self.count - 1) if self.count else None


def stem(name: str) -> str:
    """A name without its last suffix."""
    return name.rpartition(".")[0] if "." in name else name


class Resolver(Protocol):
    """How one toolkit reads references; every method answers None where it cannot tell."""

    def frame(self, reference: Reference) -> int | None:
        """The frame of an object list or an interaction sentence."""

    def carrying(self, reference: Reference) -> int | None:
        """The same, where it decides from which frame on lists are carried forward."""

    def action(self, start: Reference, end: Reference) -> Span | None:
        """The frames of an action; the span may be reversed, which means no frame."""

    def segment(self, start: Reference, end: Reference, touched: Iterable[int]) -> Span:
        """The frames of a segment, some of which (`touched`, at least one) already have labels."""


@dataclass(frozen=True, slots=True)
class CurrentResolver:
    """Today's rules; with our table for `default`, with the published one for `current`."""

    table: FrameTable

    def frame(self, reference: Reference) -> int | None:
        """See `Resolver`."""
        if not reference:
            return None
        exact = self.table.named(reference)
        if exact is not None:
            return exact
        if sequential := _SEQUENTIAL.search(reference):
            return self.table.clamped(int(sequential[1]) - 1)
        text = stem(reference)
        if not _NUMBER.fullmatch(text):
            return None
        value = int(text)
        return self.table.nearest(value) if value >= TIMESTAMP_FROM else self.table.clamped(value - 1)

    def carrying(self, reference: Reference) -> int | None:
        """See `Resolver`."""
        return self.frame(reference)

    def action(self, start: Reference, end: Reference) -> Span | None:
        """See `Resolver`."""
        first, last = self.frame(start), self.frame(end)
        return None if first is None or last is None else (min(first, last), max(first, last))

    def segment(self, start: Reference, end: Reference, touched: Iterable[int]) -> Span:
        """See `Resolver`; a bound that cannot be resolved is the outermost labelled frame."""
        labelled = list(touched)
        first, last = self.frame(start), self.frame(end)
        if first is not None and last is not None and last < first:
            first, last = last, first
        return (min(labelled) if first is None else first, max(labelled) if last is None else last)


@dataclass(frozen=True, slots=True)
class OlderResolver:
    """The rules of the toolkit as mirrored in May 2026."""

    table: FrameTable

    def frame(self, reference: Reference) -> int | None:
        """See `Resolver`."""
        if not reference:
            return None
        exact = self.carrying(reference)
        if exact is None and reference.isdecimal() and _NUMBER.fullmatch(reference):
            return self.table.nearest(int(reference))
        return exact

    def carrying(self, reference: Reference) -> int | None:
        """See `Resolver`; only exact names carry lists forward."""
        return self.table._by_name.get(reference) if reference else None

    def action(self, start: Reference, end: Reference) -> Span | None:
        """See `Resolver`; a reversed range stays reversed, and numbers count only where the start is one."""
        first, last = self.carrying(start), self.carrying(end)
        if start and start.isdecimal():
            first, last = self.frame(start), self.frame(end)
        return None if first is None or last is None else (first, last)

    def segment(self, start: Reference, end: Reference, touched: Iterable[int]) -> Span:
        """See `Resolver`; two small numbers are indices from 0."""
        bounds = [int(text) if text and _NUMBER.fullmatch(text) else -1 for text in (start, end)]
        if all(0 <= bound < self.table.count for bound in bounds):
            return min(bounds), bounds[1]
        labelled = list(touched)
        first, last = self.frame(start), self.frame(end)
        return (min(labelled) if first is None else first, max(labelled) if last is None else last)

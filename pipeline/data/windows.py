"""Windows: stretches of equal length with one action, cut from labelled frames by the original rules.

A label is a window's if it is the most common one of the frames that have any, with a share of at least
`min_share` among those. Only windows with an action exist; their index counts them, not positions
(formats section 2.4).
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.frames import Span
from pipeline.data.labels import FrameLabels
from pipeline.engine.errors import UsageError

UNKNOWN: Final = "unknown"
Answer = Literal["yes", "no", "unknown"]

WINDOW_FRAMES = 20
STRIDE = 20
MIN_SHARE = 0.6
CONTEXT_FRAMES = 120


class Shares(Struct, frozen=True):
    """Share of the most common label among labelled frames; 0 where no frame is labelled."""

    action: float
    subtask: float
    next_action: float


class Window(Struct, frozen=True, kw_only=True):
    """One labelled window.

    Attributes:
        index: position among the episode's labelled windows, from 0.
        start, end: first and last frame, both inside.
        action: the majority label.
        subtask, next_action: majority labels, or `unknown`; the next window is the following frames, as many
            as this one's, or what is left of the episode.
        objects: names by number of frames, then by first appearance.
        contact: whether any contact value in it is above 0; `unknown` without contacts.
        transition: whether it has more than one action.
        shares: how clear the majorities are.
    """

    index: int
    start: int
    end: int
    action: str
    subtask: str
    objects: tuple[str, ...]
    contact: Answer
    transition: Literal["yes", "no"]
    next_action: str
    shares: Shares

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.end - self.start + 1


def window_starts(frames: int, window_frames: int = WINDOW_FRAMES, stride: int = STRIDE) -> range:
    """First frames of all windows that fit, labelled or not.

    Raises:
        UsageError: frames or stride of a window are not positive.
    """
    if window_frames < 1 or stride < 1:
        raise UsageError(f"windows of {window_frames} frames every {stride} frames cannot be cut")
    return range(0, frames - window_frames + 1, stride)


def cut_windows(
    labels: FrameLabels,
    *,
    contact: NDArray[np.bool_] | None = None,
    window_frames: int = WINDOW_FRAMES,
    stride: int = STRIDE,
    min_share: float = MIN_SHARE,
) -> list[Window]:
    """The windows that have an action, in order.

    Args:
        labels: of every frame of the episode.
        contact: whether anything is touched, per frame; None where the episode does not say. It may be
            shorter than the episode.
        window_frames: frames of a window.
        stride: frames from one window's start to the next.
        min_share: see the module; above 0.5 a majority is unique.
    """
    windows: list[Window] = []
    for start in window_starts(len(labels), window_frames, stride):
        inside = slice(start, start + window_frames)
        action, action_share = majority(labels.action[inside], min_share)
        if not action:
            continue
        subtask, subtask_share = majority(labels.subtask[inside], min_share)
        following = labels.action[inside.stop : inside.stop + window_frames]
        next_action, next_share = majority(following, min_share)
        windows.append(
            Window(
                index=len(windows),
                start=start,
                end=inside.stop - 1,
                action=action,
                subtask=subtask or UNKNOWN,
                objects=_by_frames(labels.objects[inside]),
                contact=_contact(contact, inside),
                transition="yes" if len({*filter(None, labels.action[inside])}) > 1 else "no",
                next_action=next_action or UNKNOWN,
                shares=Shares(action_share, subtask_share, next_share),
            )
        )
    return windows


def majority(labels: Iterable[str], min_share: float = MIN_SHARE) -> tuple[str, float]:
    """The majority label (empty if there is none) and the share of the most common one."""
    counts = Counter(label for label in labels if label)
    if not counts:
        return "", 0.0
    ((label, count),) = counts.most_common(1)
    share = count / counts.total()
    return (label if share >= min_share else ""), share


def cap_windows(windows: Sequence[Window], most: int) -> list[Window]:
    """At most `most` windows: round-robin over actions in sorted order, each action's earliest first.

    Everything is kept for `most` of 0 or less.
    """
    if most <= 0 or len(windows) <= most:
        return list(windows)
    by_action: dict[str, deque[Window]] = defaultdict(deque)
    for window in windows:
        by_action[window.action].append(window)
    kept: list[Window] = []
    while len(kept) < most:
        for action in sorted(by_action):
            if by_action[action] and len(kept) < most:
                kept.append(by_action[action].popleft())
    return sorted(kept, key=lambda window: window.start)


def context_span(start: int, end: int, frames: int, context_frames: int = CONTEXT_FRAMES) -> Span:
    """The frames around a window that a model may see: centred, then moved into the episode; both inside."""
    first = max(0, (start + end) // 2 - context_frames // 2)
    last = min(frames - 1, first + context_frames - 1)
    return max(0, last - context_frames + 1), last


def _by_frames(objects: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    counts = Counter(name for names in objects for name in names)
    return tuple(name for name, _ in counts.most_common())


def _contact(contact: NDArray[np.bool_] | None, inside: slice) -> Answer:
    if contact is None or inside.start >= len(contact):
        return UNKNOWN
    return "yes" if bool(contact[inside].any()) else "no"

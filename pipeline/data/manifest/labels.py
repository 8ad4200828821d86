"""From a caption's segments to a label for every frame, and from frames to windows (formats section 1.5).

Frame references are resolved in the order: exact name or stem, nearest device timestamp, `frame_<n>` and
small numbers as 1-based indices. Frames are 0-based everywhere else.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.data.manifest.record import LabelStats, PerTarget

#: Numbers from here on are device timestamps in ns; smaller ones count frames.
FIRST_TIMESTAMP = 100_000_000

_NUMBERED = re.compile(r"frame_(\d+)")


class FrameNames:
    """Resolves the ways in which captions refer to frames.

    Args:
        names: name of each frame, such as `82777404821554.jpg` or `frame_000000.jpg`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.count = len(names)
        self._index = {name: i for i, name in reversed(list(enumerate(names)))}
        stems = [name.partition(".")[0] for name in names]
        self._index |= {stem: i for i, stem in reversed(list(enumerate(stems)))}
        clock = sorted((int(stem), i) for i, stem in enumerate(stems) if _is_number(stem))
        self._times = [time for time, _ in clock]
        self._frames = [i for _, i in clock]

    def resolve(self, reference: Any) -> int | None:
        """The frame that `reference` means; None if it means none."""
        if not self.count or reference is None or isinstance(reference, (bool, dict, list)):
            return None
        text = str(reference).strip()
        stem = text.partition(".")[0]
        found = self._index.get(text, self._index.get(stem))
        if found is not None:
            return found
        if _is_number(stem) and int(stem) >= FIRST_TIMESTAMP:
            return self._nearest(int(stem))
        numbered = _NUMBERED.fullmatch(stem)
        if numbered or _is_number(stem):
            number = int(numbered[1]) if numbered else int(stem)
            return min(max(number - 1, 0), self.count - 1)
        return None

    def span(self, entry: Mapping[str, Any]) -> tuple[int, int] | None:
        """First and last frame (inclusive) of a segment or action; reversed ranges are turned round."""
        ends = [
            self.resolve(entry.get(key, entry.get(f"{key}_name"))) for key in ("start_frame", "end_frame")
        ]
        first, last = ends
        return None if first is None or last is None else (min(first, last), max(first, last))

    def _nearest(self, time: int) -> int | None:
        if not self._times:
            return None
        place = bisect.bisect_left(self._times, time)
        around = [i for i in (place - 1, place) if 0 <= i < len(self._times)]
        return self._frames[min(around, key=lambda i: abs(self._times[i] - time))]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def frame_labels(caption: Any, names: FrameNames) -> tuple[int, list[str], list[str]]:
    """Label every frame.

    Returns:
        Segments that resolve to frames, then the action and the subtask of each frame, empty where unknown.
    """
    actions, subtasks = [""] * names.count, [""] * names.count
    used = 0
    for segment in _mappings(caption.get("segments") if isinstance(caption, dict) else None):
        used += _paint(segment, names, actions, subtasks)
    _carry(actions)
    _carry(subtasks)
    return used, actions, subtasks


def _paint(segment: Mapping[str, Any], names: FrameNames, actions: list[str], subtasks: list[str]) -> bool:
    spans = [
        (span, clean_label(action.get("label")))
        for action in _mappings(segment.get("Current Action"))
        if (span := names.span(action)) is not None
    ]
    spans.sort(key=lambda entry: entry[0][0])
    whole = names.span(segment)
    if whole is None and not spans:
        return False
    for (first, last), label in spans:
        actions[first : last + 1] = [label] * (last - first + 1)
    first, last = whole or (min(s[0] for s, _ in spans), max(s[1] for s, _ in spans))
    subtask = clean_label(segment.get("Sub Task"))
    for frame in {*range(first, last + 1), *(f for (a, b), _ in spans for f in range(a, b + 1))}:
        subtasks[frame] = subtasks[frame] or subtask
    for frame in range(first, last + 1):
        if not actions[frame] and spans:
            before = [label for (_, end), label in spans if end < frame]
            actions[frame] = before[-1] if before else spans[0][1]
    return True


def _carry(labels: list[str]) -> None:
    """Frames without a label keep the last one before them."""
    for frame in range(1, len(labels)):
        labels[frame] = labels[frame] or labels[frame - 1]


def clean_label(value: Any) -> str:
    """The label without surrounding blanks; blank and `N/A` are no labels."""
    text = "" if value is None else str(value).strip()
    return "" if text.upper() == "N/A" else text


def majority(labels: Sequence[str], share: float) -> str:
    """The most common label if it has at least `share` of the labelled frames, else an empty string."""
    known = Counter(label for label in labels if label)
    if not known:
        return ""
    ((label, count),) = known.most_common(1)
    return label if count / known.total() >= share else ""


def label_stats(
    main_task: str,
    labelled: tuple[int, list[str], list[str]],
    *,
    window_frames: int,
    stride_frames: int,
    min_label_fraction: float,
) -> LabelStats:
    """Counts of frames and windows per label."""
    segments, *targets = labelled
    frames, windows = [], []
    for labels in targets:
        frames.append(Counter(label for label in labels if label))
        starts = range(0, len(labels) - window_frames + 1, stride_frames)
        found = (majority(labels[start : start + window_frames], min_label_fraction) for start in starts)
        windows.append(Counter(label for label in found if label))
    return LabelStats(
        main_task=main_task,
        segments=segments,
        frame_labels=PerTarget(*(dict(counts.most_common()) for counts in frames)),
        window_labels=PerTarget(*(dict(counts.most_common()) for counts in windows)),
        num_labeled_windows={"action": windows[0].total(), "subtask": windows[1].total()},
    )


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

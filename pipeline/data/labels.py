"""From a caption to labels for every frame, by the published rules (formats section 1.5).

Per segment: its actions are painted in order of their starts, objects and interactions are attached to their
frames, and if anything was, the segment's whole span is filled. At the end labels are carried forward into
frames that have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.data.captions import Action, Caption, Segment
from pipeline.data.frames import Reference, Resolver, Span

Known = TypeVar("Known")


@dataclass(frozen=True, slots=True)
class FrameLabels:
    """What is known of every frame; all lists have one entry per frame, empty where nothing is known.

    Attributes:
        action, subtask, description, interaction: text.
        objects: names, in the order of the caption.
        segments: spans of the caption's segments that touched any frame, in its order.
        unresolved: references that mean no frame of this episode.
    """

    action: list[str]
    subtask: list[str]
    description: list[str]
    objects: list[tuple[str, ...]]
    interaction: list[str]
    segments: tuple[Span, ...] = ()
    unresolved: int = 0

    def __len__(self) -> int:
        return len(self.action)

    @property
    def labelled(self) -> int:
        """Frames with an action."""
        return sum(1 for label in self.action if label)

    @classmethod
    def empty(cls, frames: int) -> FrameLabels:
        """No label for any of `frames` frames."""
        blank = [""] * frames
        return cls(blank, list(blank), list(blank), [()] * frames, list(blank))


def label_of(text: str | None) -> str:
    """A label as it counts: blanks and `N/A` in any case are none."""
    text = (text or "").strip()
    return "" if text.upper() == "N/A" else text


def propagate(caption: Caption, resolver: Resolver, frames: int) -> FrameLabels:
    """Labels for each of `frames` frames."""
    canvas = _Canvas(resolver, frames)
    for segment in caption.segments:
        canvas.paint(segment)
    canvas.carry_forward()
    return FrameLabels(
        action=[label_of(text) for text in canvas.action],
        subtask=[label_of(text) for text in canvas.subtask],
        description=[text or "" for text in canvas.description],
        objects=[names or () for names in canvas.objects],
        interaction=[text or "" for text in canvas.interaction],
        segments=tuple(canvas.segments),
        unresolved=canvas.unresolved,
    )


class _Canvas:
    """Labels in the making; None is a frame that nothing was said of, which blank text is not."""

    def __init__(self, resolver: Resolver, frames: int) -> None:
        self.resolver = resolver
        self.frames = frames
        self.action: list[str | None] = [None] * frames
        self.description: list[str | None] = [None] * frames
        self.subtask: list[str | None] = [None] * frames
        self.objects: list[tuple[str, ...] | None] = [None] * frames
        self.interaction: list[str | None] = [None] * frames
        self.segments: list[Span] = []
        self.unresolved = 0

    def paint(self, segment: Segment) -> None:
        """Everything one segment says."""
        actions = self._placed(segment.actions)
        touched: set[int] = set()
        for (first, last), action in actions:
            for frame in range(first, last + 1):
                self.action[frame], self.description[frame] = action.label, action.description
                self.subtask[frame] = segment.subtask
                touched.add(frame)
        for reference in dict.fromkeys((*segment.objects, *segment.interaction)):
            at = self._known(self.resolver.frame(reference))
            if at is not None:
                touched.add(at)
                if self.subtask[at] is None:
                    self.subtask[at] = segment.subtask
                self.objects[at] = segment.objects.get(reference, self.objects[at])
                self.interaction[at] = segment.interaction.get(reference, self.interaction[at])
        if touched:
            span = self.resolver.segment(segment.start, segment.end, touched)
            self.segments.append(span)
            self._fill(segment, span, actions)

    def carry_forward(self) -> None:
        """Labels go on into frames of which nothing was said."""
        for frame in range(1, self.frames):
            for labels in (self.subtask, self.action, self.description):
                if labels[frame] is None:
                    labels[frame] = labels[frame - 1]

    def _placed(self, actions: Iterable[Action]) -> list[tuple[Span, Action]]:
        spans = [(self._known(self.resolver.action(action.start, action.end)), action) for action in actions]
        placed = [(span, action) for span, action in spans if span is not None]
        return sorted(placed, key=lambda item: item[0][0])

    def _fill(self, segment: Segment, span: Span, actions: list[tuple[Span, Action]]) -> None:
        inside = range(span[0], span[1] + 1)
        for frame in inside:
            if self.subtask[frame] is None:
                self.subtask[frame] = segment.subtask
            if not self.action[frame] and actions:
                action = _before(frame, actions) or actions[0][1]
                self.action[frame], self.description[frame] = action.label, action.description
        carrying = self.resolver.carrying
        _carry(self.objects, _sources(segment.objects, carrying), inside)
        _carry(self.interaction, _sources(segment.interaction, carrying), inside)

    def _known(self, found: Known | None) -> Known | None:
        self.unresolved += found is None
        return found


def _before(frame: int, actions: list[tuple[Span, Action]]) -> Action | None:
    """The latest action, by start, that has ended before `frame`."""
    latest = None
    for (first, last), action in actions:
        if last < frame:
            latest = action
        elif first > frame:
            break
    return latest


def _sources(references: Iterable[str], carrying: Callable[[Reference], int | None]) -> set[int]:
    return {frame for frame in map(carrying, references) if frame is not None}


def _carry(values: list[Known | None], sources: set[int], inside: range) -> None:
    """Every frame inside without a value gets that of the nearest source at or before it."""
    before = [source for source in sources if source <= inside.start]
    source = max(before, default=None)
    for frame in inside:
        source = frame if frame in sources else source
        if source is not None and values[frame] is None:
            values[frame] = values[source]

"""Labels of frames against a slow reading written from the format's description alone (section 1.5)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.captions import parse_caption
from pipeline.data.frames import CurrentResolver, FrameTable
from pipeline.data.labels import propagate
from pipeline.data.windows import cut_windows

FRAMES = 60
NAMES = [f"img_{number:06d}.jpg" for number in range(FRAMES)]
CLOCK = [82_777_404_821_554 + number * 50_000_000 for number in range(FRAMES)]
TABLE = FrameTable(count=FRAMES, names=tuple(NAMES), clock=np.array(CLOCK, dtype=np.int64))
RESOLVER = CurrentResolver(TABLE)


LABELS = st.sampled_from(["cut", "pour", "hold", "N/A", "n/a", ""])
THINGS = st.lists(st.sampled_from(["cup", "pen", "lid"]), max_size=3)


def reference(frame: int) -> st.SearchStrategy[Any]:
    """Any way a caption may name a frame."""
    return st.sampled_from(
        [
            NAMES[frame],
            NAMES[frame].removesuffix(".jpg"),
            f"frame_{frame + 1:07d}",
            frame + 1,
            str(frame + 1),
            CLOCK[frame],
            str(CLOCK[frame] + 3),
        ]
    )


@st.composite
def captions(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A caption, and the same with every reference replaced by the frame it means."""
    cuts = sorted(draw(st.sets(st.integers(1, FRAMES - 1), max_size=3)))
    caption, meant = [], []
    for first, after in zip([0, *cuts], [*cuts, FRAMES], strict=True):
        inside = st.integers(first, after - 1)
        spans = [sorted(draw(st.tuples(inside, inside))) for _ in range(draw(st.integers(0, 3)))]
        actions = [(start, end, draw(LABELS), draw(st.text("xyz", max_size=3))) for start, end in spans]
        objects = {draw(inside): draw(THINGS) for _ in range(draw(st.integers(0, 2)))}
        said = {draw(inside): draw(st.text("uvw", max_size=3)) for _ in range(draw(st.integers(0, 2)))}
        subtask = draw(LABELS)
        meant.append({"span": (first, after - 1), "subtask": subtask, "actions": actions, "objects": objects})
        caption.append(
            {
                "start_frame": draw(reference(first)),
                "end_frame": draw(reference(after - 1)),
                "Sub Task": subtask,
                "Current Action": [
                    {
                        "label": label,
                        "description": text,
                        "start_frame": draw(reference(start)),
                        "end_frame": draw(reference(end)),
                    }
                    for start, end, label, text in actions
                ],
                "objects": {NAMES[frame]: names for frame, names in objects.items()},
                "interaction": {NAMES[frame]: text for frame, text in said.items()},
            }
        )
        meant[-1]["said"] = said
    return {"config": {"Main Task": "t"}, "segments": caption}, meant


def slow(meant: list[dict[str, Any]]) -> tuple[list[str], list[str], list[tuple[str, ...]]]:
    """Section 1.5, sentence by sentence."""
    action: list[str | None] = [None] * FRAMES
    subtask: list[str | None] = [None] * FRAMES
    objects: list[tuple[str, ...] | None] = [None] * FRAMES
    for segment in meant:
        ordered = sorted(segment["actions"], key=lambda one: one[0])
        touched = set(segment["objects"]) | set(segment["said"])
        for start, end, label, _ in ordered:
            for frame in range(start, end + 1):
                action[frame], subtask[frame] = label, segment["subtask"]
                touched.add(frame)
        for frame, names in segment["objects"].items():
            objects[frame] = tuple(names)
        if not touched:
            continue
        for frame in range(segment["span"][0], segment["span"][1] + 1):
            if subtask[frame] is None:
                subtask[frame] = segment["subtask"]
            if not action[frame] and ordered:
                ended = [one for one in ordered if one[1] < frame]
                action[frame] = (ended[-1] if ended else ordered[0])[2]
            earlier = [at for at in segment["objects"] if at <= frame]
            if objects[frame] is None and earlier:
                objects[frame] = tuple(segment["objects"][max(earlier)])
    for frame in range(1, FRAMES):
        action[frame] = action[frame - 1] if action[frame] is None else action[frame]
        subtask[frame] = subtask[frame - 1] if subtask[frame] is None else subtask[frame]
    return (
        [_label(text) for text in action],
        [_label(text) for text in subtask],
        [names or () for names in objects],
    )


def _label(text: str | None) -> str:
    text = (text or "").strip()
    return "" if text.lower() == "n/a" else text


@settings(max_examples=200, deadline=None)
@given(captions())
def test_labels_of_frames_equal_the_slow_reading(both: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    caption, meant = both
    labels = propagate(parse_caption(json.dumps(caption)), RESOLVER, FRAMES)
    action, subtask, objects = slow(meant)
    assert labels.action == action
    assert labels.subtask == subtask
    assert [set(names) for names in labels.objects] == [set(names) for names in objects]
    assert labels.unresolved == 0


@settings(max_examples=100, deadline=None)
@given(captions(), st.integers(1, 25), st.integers(1, 25))
def test_windows_equal_a_slow_count(
    both: tuple[dict[str, Any], list[dict[str, Any]]], size: int, stride: int
) -> None:
    caption, meant = both
    labels = propagate(parse_caption(json.dumps(caption)), RESOLVER, FRAMES)
    action, subtask, _ = slow(meant)
    found = {(w.start, w.end): w for w in cut_windows(labels, window_frames=size, stride=stride)}
    expected: dict[tuple[int, int], tuple[str, str, str, str]] = {}
    for start in range(0, FRAMES - size + 1, stride):
        inside = slice(start, start + size)
        main = _majority(action[inside])
        if main:
            kinds = {label for label in action[inside] if label}
            following = _majority(action[start + size : start + 2 * size])
            expected[start, start + size - 1] = (
                main,
                _majority(subtask[inside]) or "unknown",
                "yes" if len(kinds) > 1 else "no",
                following or "unknown",
            )
    assert {span: (w.action, w.subtask, w.transition, w.next_action) for span, w in found.items()} == expected


def _majority(labels: list[str]) -> str:
    said = [label for label in labels if label]
    for label in said:
        if said.count(label) / len(said) >= 0.6:
            return label
    return ""

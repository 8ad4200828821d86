"""Rows: published keys, answers, and label options that tell nothing of the test split."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.export.rows import Answer, Evidence, answer_of, training_target
from pipeline.data.labels import FrameLabels
from pipeline.data.windows import cap_windows, context_span, cut_windows

NAMES = st.sampled_from(["cup", "Cup", "knife", 'a "b", c', "line\nbreak", "Tea", "tea", *"abcdefghij"])
LABEL = st.sampled_from(["", "Pour, then stir", 'Say "stop"', "Lift\nturn", "Wait"])


def slow_windows(labels: FrameLabels, contact: np.ndarray, size: int, stride: int) -> list[dict[str, object]]:
    """The rules of formats section 2.4, written down without looking at ours."""

    def most(labels: list[str]) -> str:
        named = [label for label in labels if label]
        best = max(dict.fromkeys(named), key=named.count, default="")
        return best if named and named.count(best) / len(named) >= 0.6 else ""

    found: list[dict[str, object]] = []
    start = 0
    while start + size <= len(labels):
        inside = range(start, start + size)
        action = most([labels.action[i] for i in inside])
        if action:
            objects = [name for i in inside for name in labels.objects[i]]
            order = sorted(dict.fromkeys(objects), key=lambda name: -objects.count(name))
            following = [labels.action[i] for i in range(start + size, min(len(labels), start + 2 * size))]
            found.append(
                {
                    "action": action,
                    "subtask": most([labels.subtask[i] for i in inside]) or "unknown",
                    "objects": order,
                    "contact": "yes" if any(contact[i] for i in inside) else "no",
                    "transition": "yes" if len({labels.action[i] for i in inside} - {""}) > 1 else "no",
                    "next_action": most(following) or "unknown",
                    "evidence_window": {"start_frame": start, "end_frame": start + size - 1},
                }
            )
        start += stride
    return found


@given(data=st.data(), size=st.integers(1, 12), stride=st.integers(1, 12))
def test_answers_equal_a_slow_independent_implementation(data: st.DataObject, size: int, stride: int) -> None:
    frames = data.draw(st.integers(0, 60))

    def draw(values: st.SearchStrategy) -> list:
        return data.draw(st.lists(values, min_size=frames, max_size=frames))

    objects = [tuple(dict.fromkeys(names)) for names in draw(st.lists(NAMES, max_size=3))]
    labels = FrameLabels(draw(LABEL), draw(LABEL), [""] * frames, objects, [""] * frames)
    contact = np.array(draw(st.booleans()), bool)
    ours = [answer_of(w) for w in cut_windows(labels, contact=contact, window_frames=size, stride=stride)]
    assert msgspec.to_builtins(ours, builtin_types=()) is not None
    assert json.loads(msgspec.json.encode(ours)) == slow_windows(labels, contact, size, stride)


@given(objects=st.lists(NAMES, max_size=20))
def test_the_training_target_is_canonical(objects: list[str]) -> None:
    answer = Answer("Pour", "Brew", tuple(objects), "Yes", "No", "unknown", Evidence(0, 19))
    text = training_target(answer)
    told = json.loads(text)
    assert text == json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert len(told["objects"]) == min(8, len({name.casefold() for name in objects}))
    assert max(Counter(name.casefold() for name in told["objects"]).values(), default=1) == 1
    assert told["contact"] == "yes"


@given(kinds=st.lists(st.sampled_from("abc"), max_size=40), most=st.integers(1, 40))
def test_the_cap_takes_actions_in_turn_and_each_ones_earliest(kinds: list[str], most: int) -> None:
    labels = FrameLabels(kinds, kinds, kinds, [()] * len(kinds), kinds)
    windows = cut_windows(labels, window_frames=1, stride=1)
    expected: list[int] = []
    queues = {kind: [i for i, found in enumerate(kinds) if found == kind] for kind in sorted(set(kinds))}
    while len(expected) < min(most, len(kinds)):
        for queue in queues.values():
            if queue and len(expected) < most:
                expected.append(queue.pop(0))
    assert [window.start for window in cap_windows(windows, most)] == sorted(expected)


@given(frames=st.integers(20, 400), start=st.integers(0, 380), context=st.integers(22, 160))
def test_the_context_holds_the_window_and_stays_inside(frames: int, start: int, context: int) -> None:
    start = min(start, frames - 20)
    first, last = context_span(start, start + 19, frames, context)
    assert 0 <= first <= start
    assert start + 19 <= last < frames
    assert last - first + 1 == min(context, frames)


def test_a_published_row_has_the_keys_that_ours_have(published: Path, tmp_path: Path) -> None:
    from tests.data.export_world import rows_of, run_export, write_world

    context, _ = run_export(write_world(tmp_path / "data", episodes=2), tmp_path, parity=True)
    with (published / "omni" / "dataset.jsonl").open() as file:
        theirs = json.loads(file.readline())
    ours = rows_of(context)[0]
    assert list(ours)[: len(theirs)] == list(theirs)
    assert list(ours["media"]) == list(theirs["media"])
    assert list(ours["answer_json"]) == list(theirs["answer_json"])
    assert [part["role"] for part in ours["messages"]] == [part["role"] for part in theirs["messages"]]
    assert ours["messages"][0] == theirs["messages"][0]
    prompts = [row["messages"][1]["content"][-1]["text"].splitlines() for row in (ours, theirs)]
    assert prompts[0][:2] != prompts[1][:2]  # another episode
    assert [prompt[0] for prompt in prompts] == [theirs["question"]] * 2
    assert prompts[0][3:6] == prompts[1][3:6]

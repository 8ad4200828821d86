"""How a raw answer is understood: formats 3.1."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.answers import FIELDS, Options, is_valid, normalised, object_names, parse_answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ('{"action": "a"}', {"action": "a"}),
        ('  ```json\n{"action": "a"}\n``` ', {"action": "a"}),
        ('```\n{"action": "a"}```', {"action": "a"}),
        ('Sure: {"action": "a"} Done.', {"action": "a"}),
        ('{"action": "a", "objects": ["b", "c"', {}),
        ("[1, 2]", {}),
        ("", {}),
        ('{"subtask":unknown}', {}),
        ("}{", {}),
        ("[" * 100_000, {}),
    ],
)
def test_the_object_in_a_raw_answer(raw: str, answer: dict[str, str]) -> None:
    assert parse_answer(raw) == answer


@given(st.text() | JSON.map(json.dumps))
def test_no_answer_breaks_the_reader(raw: str) -> None:
    answer = parse_answer(raw)
    assert isinstance(answer, dict)
    assert isinstance(Options(["cut"]).label(raw, answer), str)
    object_names(answer.get("objects"))


def test_valid_means_all_seven_fields_of_whatever_type() -> None:
    answer = dict.fromkeys(FIELDS)
    assert is_valid(answer)
    assert is_valid(answer | {"more": 1})
    assert not is_valid({key: 1 for key in FIELDS if key != "transition"})


OPTIONS = Options(["Adjust paper", "Adjust paper strip", "Cut", "CUT"])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Adjust paper strip", "Adjust paper strip"),
        (' "adjust   PAPER strip". ', "Adjust paper strip"),
        ("cut", "CUT"),
        ("they adjust paper strip now", "Adjust paper"),
        ("a cutter", "Cut"),
        ("Fold  lantern.", "Fold lantern"),
    ],
)
def test_a_text_means_the_first_option_that_fits(text: str, label: str) -> None:
    assert OPTIONS.match(text) == label


def test_without_an_action_the_whole_text_is_searched() -> None:
    raw = '{"act": "Cut'
    assert OPTIONS.label(raw, parse_answer(raw)) == "Cut"


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)

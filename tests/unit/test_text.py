"""No foreign text may move a cursor, change a colour, or reorder what an operator reads."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.text import cell_width, safe_text

DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;cm0gLXJm\x1b\\after", "after"),
        ("a\x1b", "a"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x9b2Jgone", "gone"),
        ("\x00nul\x7f", "nul"),
        ("\u202egnp.exe", "<U+202E>gnp.exe"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("plain text stays", "plain text stays"),
    ],
)
def test_what_is_shown(hostile: str, shown: str) -> None:
    assert safe_text(hostile) == shown


@given(st.text(st.characters()))
def test_nothing_dangerous_is_left(text: str) -> None:
    assert not DANGEROUS.search(safe_text(text))


@given(st.text(), st.integers(0, 50))
def test_a_width_is_kept(text: str, width: int) -> None:
    assert cell_width(safe_text(text, width)) <= width


def test_cells() -> None:
    assert cell_width("abc") == 3
    assert cell_width("\u6f22\u5b57") == 4
    assert cell_width("e\u0301") == 1

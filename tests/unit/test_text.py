"""Whatever comes in, one printable line of known width comes out."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.text import ELLIPSIS, cell_width, clip, safe_text

#: Text as an attacker or a broken encoder would make it.
HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "\x1b\x9b\x9d\x90[]0;mPX^_\\\x07\x9c\u202e\u2066\u200d\ufe0f\u0301\ud800\t\r\n \u6f22\U0001f468"
        ),
    )
)


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31;1mred\x1b[0mb", "aredb"),
        ("\x1b]0;window title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x1b\\after", "after"),
        ("a\x1b", "a"),
        ("\x1bP1$r payload \x1b\\x", "x"),
        ("\x9b2Jx\x9d0;t\x9cy", "xy"),
        ("\x1b(0lqk\x1bc", "lqk"),
        ("a\tb\r\nc\n\n\td\x85e\u2028f", "a b c d e f"),
        ("\x00\x08\x7f\x80x", "x"),
        ("user\u202egpj.exe", "user<U+202E>gpj.exe"),
        ("zero\u200bwidth\ufeff", "zero<U+200B>width<U+FEFF>"),
        ("\U0001f468\u200d\U0001f469 \u2764\ufe0f", "\U0001f468\U0001f469 \u2764"),
        ("\ud800 \ue000", "\ufffd \ufffd"),
        ("[b]not markup[/b]", "[b]not markup[/b]"),
        ("e" + "\u0301" * 50, "e\u0301\u0301"),
        ("\u0301x", "x"),
    ],
)
def test_what_is_dangerous_or_invisible(foreign: str, shown: str) -> None:
    assert safe_text(foreign) == shown


def test_cells() -> None:
    assert [cell_width(text) for text in ("abc", "\u6f22\u5b57", "e\u0301")] == [3, 4, 1]


def test_an_unfinished_sequence_hides_nothing() -> None:
    assert safe_text("\x1b]0;the rest of the line") == "0;the rest of the line"


@given(HOSTILE, st.integers(0, 40))
def test_the_result_is_printable_and_fits(text: str, width: int) -> None:
    for shown in (safe_text(text), safe_text(text, width), safe_text(text, width, ascii_only=True)):
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in shown)
    assert cell_width(safe_text(text, width)) <= width
    assert safe_text(text, width, ascii_only=True).isascii()


@given(HOSTILE)
def test_what_is_safe_stays_as_it_is(text: str) -> None:
    once = safe_text(text)
    assert safe_text(once) == once


@given(HOSTILE)
def test_widths_are_those_that_textual_counts(text: str) -> None:
    from rich.cells import cell_len

    assert cell_width(safe_text(text)) == cell_len(safe_text(text))


def test_every_character_has_the_width_that_textual_counts() -> None:
    from rich.cells import cell_len

    wrong = [
        hex(code)
        for code in range(0x110000)
        if cell_width(shown := safe_text("a" + chr(code))) != cell_len(shown)
    ]
    assert wrong == []


def test_a_cut_shows_and_never_halves_a_wide_character() -> None:
    assert clip("abcdef", 4) == "abc" + ELLIPSIS
    assert clip("\u6f22\u5b57\u6f22", 4) == "\u6f22" + ELLIPSIS
    assert safe_text("x" * 600_000, 10) == "x" * 9 + ELLIPSIS
    assert safe_text("\u6f22\u5b57", 3, ascii_only=True) == "??~"


def test_escapes_without_end_still_leave_a_sign() -> None:
    assert safe_text("\x1b[0m" * 10_000, 5) == ELLIPSIS

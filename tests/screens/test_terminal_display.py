"""The choice of display, glyphs and colours: a pure function of what is around."""

from __future__ import annotations

import pytest

from pipeline.engine.errors import UsageError
from pipeline.engine.gates import Verdict
from pipeline.engine.state import StageState
from pipeline.engine.text import cell_width
from screens.terminal.display import Capabilities, Colour, Display, Surroundings, choose, codeset, is_tiny
from screens.terminal.glyphs import SETS

USUAL = {"TERM": "xterm-256color", "LANG": "en_US.UTF-8", "COLORTERM": "truecolor"}


def at(
    wish: str | None = None, /, *, stdin_tty=True, stdout_tty=True, stderr_tty=True, foreground=True, **env
):
    merged = {k: v for k, v in (USUAL | env).items() if v is not None}
    around = Surroundings(merged, stdin_tty, stdout_tty, stderr_tty, foreground)
    return choose(around, wish)


def test_the_usual_terminal_gets_everything() -> None:
    found = at()
    assert (found.display, found.colour, found.glyphs.name) == (Display.FULL, Colour.TRUE, "braille")
    assert found.reason == ""
    assert found.theme == "dark"


@pytest.mark.parametrize(
    ("around", "reason"),
    [
        ({"stdin_tty": False}, "stdin is not a terminal"),
        ({"stdout_tty": False, "stderr_tty": False}, "stdout and stderr are not a terminal"),
        ({"stderr_tty": False}, "stderr is not a terminal"),
        ({"foreground": False}, "started in the background"),
        ({"TERM": "dumb"}, "TERM=dumb cannot move a cursor"),
        ({"TERM": None}, "TERM= cannot move a cursor"),
    ],
)
@pytest.mark.parametrize("wish", [None, "full", "inline"])
def test_where_the_screen_cannot_be_taken_lines_are_printed(around, reason: str, wish) -> None:
    found = at(wish, **around)
    assert (found.display, found.reason) == (Display.PLAIN, reason)


@pytest.mark.parametrize("wish", ["plain", "jsonl", "none", "inline", "full"])
def test_a_wish_that_can_be_met_is_met_from_the_option_and_the_variable(wish: str) -> None:
    assert at(wish).display == wish
    assert at(None, XOPS_DISPLAY=wish).display == wish
    assert at("jsonl", XOPS_DISPLAY=wish).display == Display.JSONL


@pytest.mark.parametrize("variables", [{"XOPS_DISPLAY": "fancy"}, {"XOPS_GLYPHS": "emoji"}])
def test_an_unknown_wish_is_an_error_that_names_the_known_ones(variables) -> None:
    with pytest.raises(UsageError) as caught:
        at(**variables)
    assert "use one of" in caught.value.hint


@pytest.mark.parametrize(
    ("env", "colour"),
    [
        ({"NO_COLOR": "1"}, Colour.MONO),
        ({"NO_COLOR": ""}, Colour.TRUE),
        ({"COLORTERM": None}, Colour.ANSI256),
        ({"COLORTERM": None, "TERM": "xterm"}, Colour.ANSI16),
        ({"COLORTERM": None, "TERM": "linux"}, Colour.ANSI16),
        ({"COLORTERM": None, "TERM": "xterm-kitty"}, Colour.TRUE),
        ({"TERM": "dumb"}, Colour.MONO),
        ({"TERM": "vt100"}, Colour.MONO),
        ({"TERM": None}, Colour.MONO),
    ],
)
def test_colours(env, colour: Colour) -> None:
    assert at(**env).colour is colour


@pytest.mark.parametrize(
    ("env", "glyphs"),
    [
        ({"LANG": "C"}, "ascii"),
        ({"LANG": None}, "ascii"),
        ({"LANG": "de_DE"}, "ascii"),
        ({"LC_ALL": "C"}, "ascii"),
        ({"LC_CTYPE": "C.utf8", "LANG": "C"}, "braille"),
        ({"LC_ALL": "POSIX", "LC_CTYPE": "C.UTF-8"}, "ascii"),
        ({"TERM": "linux"}, "block"),
        ({"TERM": "vt220"}, "ascii"),
        ({"TERM": "dumb"}, "ascii"),
        ({"LANG": "C", "XOPS_GLYPHS": "block"}, "block"),
    ],
)
def test_glyphs_follow_the_operators_locale_and_terminal(env, glyphs: str) -> None:
    assert at(**env).glyphs.name == glyphs


def test_codesets_are_read_as_the_c_library_does() -> None:
    assert codeset({"LANG": "en_US.UTF-8@euro"}) == "utf-8"
    assert codeset({"LC_ALL": "", "LANG": "ja_JP.eucJP"}) == "eucjp"
    assert codeset({}) == "ascii"


def test_a_theme_follows_from_the_colours() -> None:
    themes = [Capabilities(Display.FULL, colour, SETS["ascii"]).theme for colour in Colour]
    assert themes == ["mono", "ansi", "dark", "dark"]


def test_tiny_is_below_sixty_by_fifteen() -> None:
    assert is_tiny(59, 15)
    assert is_tiny(60, 14)
    assert not is_tiny(60, 15)


@pytest.mark.parametrize("glyphs", SETS.values(), ids=SETS)
def test_every_glyph_takes_one_cell_and_ascii_is_ascii(glyphs) -> None:
    names = [n for n in type(glyphs).__dataclass_fields__ if not n.startswith("_") and n != "name"]
    for name in names:
        for char in getattr(glyphs, name):
            assert cell_width(char) == 1, (name, char)
            assert char.isascii() or glyphs.name != "ascii"


def test_states_and_verdicts_are_told_apart_by_letters_alone() -> None:
    for glyphs in SETS.values():
        assert len({glyphs.state(state).letter for state in StageState}) == len(StageState)
        assert len({glyphs.verdict(verdict).letter for verdict in Verdict}) == len(Verdict)


@pytest.mark.parametrize("glyphs", SETS.values(), ids=SETS)
@pytest.mark.parametrize("fraction", [-1.0, 0.0, 0.001, 0.33, 0.999, 1.0, 7.0])
def test_bars_fill_their_width_and_never_overstate(glyphs, fraction: float) -> None:
    bar = glyphs.bar(fraction, 10)
    assert cell_width(bar) == 10
    assert (bar == glyphs.eighths[-1] * 10) == (fraction >= 1.0)
    assert glyphs.bar(fraction, 0) == ""

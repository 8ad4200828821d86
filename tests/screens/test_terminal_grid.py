"""Bytes from cells: whatever was intended in between, the last picture is what the terminal shows."""

from __future__ import annotations

import pyte
from hypothesis import given
from hypothesis import strategies as st

from screens.terminal.grid import Cell, Grid

WIDTH, HEIGHT = 12, 4
STYLES = st.sampled_from(["", "1", "31", "7", "38;2;1;2;3", "1;48;5;9"])
TEXTS = st.sampled_from(["a", "b", " ", "\u6f22", "\U0001f642", "e\u0301", "\u2588", "\u28ff"])


@st.composite
def strips(draw: st.DrawFn) -> tuple[int, int, list[Cell]]:
    """Where to put which cells; they may reach beyond the right edge."""
    cells: list[Cell] = []
    for text, style in draw(st.lists(st.tuples(TEXTS, STYLES), min_size=1, max_size=8)):
        cells.append((text, style))
        if text in ("\u6f22", "\U0001f642"):
            cells.append(("", style))
    return draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1)), cells


def shown(screen: pyte.Screen) -> list[list[tuple[object, ...]]]:
    return [
        [(c.data, c.fg, c.bg, c.bold, c.reverse) for c in (screen.buffer[y][x] for x in range(WIDTH))]
        for y in range(HEIGHT)
    ]


def terminal() -> tuple[pyte.Screen, pyte.Stream]:
    screen = pyte.Screen(WIDTH, HEIGHT)
    screen.reset_mode(pyte.modes.DECAWM)
    return screen, pyte.Stream(screen)


@given(st.lists(st.tuples(strips(), st.sampled_from([None, 0, 8, 30, -1])), max_size=30))
def test_many_small_frames_end_like_one_whole_picture(steps) -> None:
    """A budget of -1 stands for no frame at that moment: the line was busy."""
    grid, whole = Grid(WIDTH, HEIGHT), Grid(WIDTH, HEIGHT)
    screen, stream = terminal()
    for y in range(HEIGHT):
        for each in (grid, whole):
            each.put(0, y, [(".", "")] * WIDTH)
    for (x, y, cells), budget in steps:
        grid.put(x, y, cells)
        whole.put(x, y, cells)
        if budget != -1:
            stream.feed(grid.frame(budget))
    while grid.pending:
        stream.feed(grid.frame(1))
    expected, paint = terminal()
    paint.feed(whole.frame())
    assert shown(screen) == shown(expected)
    assert grid.frame() == ""


def test_one_changed_cell_costs_a_movement_and_a_character() -> None:
    grid = Grid(80, 24)
    grid.put(0, 5, [(c, "32") for c in "loss 0.31 and more"])
    grid.frame()
    grid.put(8, 5, [("2", "32")])
    assert grid.frame() == "\x1b[6;9H2"


def test_what_did_not_change_costs_nothing() -> None:
    grid = Grid(80, 24)
    grid.put(0, 0, [("a", "1")])
    grid.frame()
    grid.put(0, 0, [("b", "1")])
    grid.put(0, 0, [("a", "1")])
    assert grid.frame() == ""


def test_with_a_budget_the_newest_row_goes_first_and_the_oldest_next() -> None:
    grid = Grid(4, 4)
    for y in (1, 3, 0, 2):
        grid.put(0, y, [("x", "")])
    rows = [grid.frame(1).partition("\x1b[m")[0].rstrip("x") for _ in range(4)]
    assert rows == ["\x1b[3H", "\x1b[2H", "\x1b[H", "\x1b[4H"]


def test_forgetting_writes_everything_again() -> None:
    grid = Grid(3, 1)
    grid.put(0, 0, [(c, "") for c in "abc"])
    first = grid.frame()
    grid.forget()
    assert grid.frame() == first


def test_half_a_wide_character_never_stays() -> None:
    grid = Grid(4, 1)
    grid.put(0, 0, [("\u6f22", "31"), ("", "31"), ("c", ""), ("d", "")])
    grid.frame()
    grid.put(1, 0, [("x", "")])
    screen, stream = pyte.Screen(4, 1), None
    stream = pyte.Stream(screen)
    grid.forget()
    stream.feed(grid.frame())
    assert screen.display == [" xcd"]

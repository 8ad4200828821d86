"""Terminals as they are: sizes, kinds, without colour, without answers, stalled, slow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pseudo_terminal import colours

TERMS = (
    *("xterm", "xterm-256color", "xterm-kitty", "screen", "screen-256color", "tmux-256color"),
    *("linux", "vt100", "vt220", "rxvt-unicode-256color", "alacritty", "ansi"),
)


@pytest.mark.parametrize("term", TERMS)
def test_every_kind_of_terminal_shows_the_screen_and_takes_keys(program, term: str) -> None:
    terminal = program("small", env={"TERM": term, "COLORTERM": None})
    terminal.wait_for("ready")
    terminal.send("k")
    terminal.wait_for("keys=1.")
    terminal.send("q")
    assert terminal.wait() == 0
    assert terminal.restored
    if term in ("linux", "vt100", "vt220", "ansi"):
        assert not re.search(rb"\x1b\[[<>][0-9;]*u|\x1b\[\?[0-9]+\$p|[34]8;2;", bytes(terminal.data))


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "vt100"}], ids=["NO_COLOR", "vt100"])
def test_no_colour_means_no_colour_sequence_at_all(program, env) -> None:
    terminal = program("ticks", "ours", env=env)
    terminal.wait_for("DONEMARK", 40)
    terminal.send("q")
    terminal.wait()
    assert colours(bytes(terminal.data)) == []
    assert b"\x1b[7m" in terminal.data or b";7m" in terminal.data  # the cursor is still told from the rest


def test_sixteen_colours_are_the_terminals_own(program) -> None:
    terminal = program("ticks", "ours", env={"TERM": "xterm", "COLORTERM": None})
    terminal.wait_for("DONEMARK", 40)
    assert colours(bytes(terminal.data))
    assert not [found for found in colours(bytes(terminal.data)) if b"8;5" in found or b"8;2" in found]


@pytest.mark.parametrize(
    ("columns", "rows"), [(1, 1), (2, 1), (1, 9), (4, 2), (20, 5), (59, 14), (60, 15), (160, 48), (300, 100)]
)
def test_no_size_is_too_small_or_too_large(program, columns: int, rows: int) -> None:
    terminal = program("small", "busy", columns=columns, rows=rows)
    terminal.pump(4.0, lambda: len(terminal.data) > 200 and bool(terminal.text.strip()))
    terminal.pump(0.3)
    shown = terminal.text
    assert terminal.process.poll() is None
    terminal.send("q")
    assert terminal.wait() == 0
    if columns >= 20:
        assert ("ready" if columns >= 60 and rows >= 15 else "small status") in shown


def test_too_small_shows_one_line_until_there_is_room_again(program) -> None:
    terminal = program("small")
    terminal.wait_for("ready")
    terminal.resize(50, 10)
    terminal.wait_for("small status")
    assert "ready" not in terminal.text
    terminal.resize(80, 24)
    terminal.wait_for("ready")
    assert "small status" not in terminal.text


def test_a_storm_of_resizes_ends_in_the_right_picture(program) -> None:
    terminal = program("small", "busy")
    terminal.wait_for("ready")
    for step in range(40):
        terminal.resize(60 + step * 3 % 100, 15 + step % 30)
        terminal.pump(0.01)
    terminal.resize(100, 30)
    terminal.wait_for("ready")
    terminal.send("k")
    terminal.wait_for("keys=1.")


def test_a_terminal_that_answers_nothing_is_served_all_the_same(program) -> None:
    terminal = program("small", "busy", answers=False)
    terminal.wait_for("ready")
    terminal.send("k")
    terminal.wait_for("keys=1.")
    asked = terminal.data.count(b"\x1b[6n")
    terminal.pump(2.0)
    assert terminal.data.count(b"\x1b[6n") <= asked + 1  # it is not asked again and again


def test_a_terminal_that_is_not_read_does_not_stop_the_program(program, tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    terminal = program("small", "heartbeat", str(beat), columns=200, rows=60, answers=False)
    terminal.wait_for("ready")
    terminal.pump(2.5)  # pacing has given up by now: only the writer is left to protect the loop
    before = int(beat.read_text().split()[0])
    import time

    time.sleep(4.0)
    ticks, gap = beat.read_text().split()
    assert int(ticks) - before > 10
    assert float(gap) < 3.0
    terminal.send("k")
    terminal.wait_for("keys=1.")


def test_a_slow_line_shows_a_key_soon(program) -> None:
    """2 kB/s, with a screen that changes all over twenty times a second: few bytes stand before the key."""
    terminal = program("small", "busy")
    terminal.wait_for("ready", 60, rate=2000)
    terminal.pump(3.0, rate=2000)
    before = len(terminal.data)
    terminal.send("k")
    terminal.wait_for("keys=1.", 60, rate=2000)
    assert len(terminal.data) - before < 16_000


def test_an_unchanged_screen_costs_nothing(program) -> None:
    terminal = program("small")
    terminal.wait_for("ready")
    terminal.pump(1.0)
    before = len(terminal.data)
    terminal.pump(2.0)
    assert len(terminal.data) == before

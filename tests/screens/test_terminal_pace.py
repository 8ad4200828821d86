"""When frames may go: after an answer, after a second of silence, never faster than the line."""

from __future__ import annotations

from screens.terminal.pace import FAST, FRAME_S, LEAST, LOST_S, PATIENCE_S, Pace


def test_the_next_frame_waits_for_the_answer_to_the_last() -> None:
    pace = Pace()
    assert pace.ready(0.0)
    pace.sent(1000, 0.0)
    assert not pace.ready(0.5)
    assert pace.skipped == 1
    assert pace.answered(0.5)
    assert pace.ready(0.5)
    assert pace.rtt == 0.5


def test_a_terminal_that_never_answers_is_not_asked_again() -> None:
    pace = Pace()
    pace.sent(1000, 0.0)
    assert pace.retry_in(0.25) == PATIENCE_S - 0.25
    assert pace.ready(PATIENCE_S)
    assert not pace.asks
    assert pace.ready(PATIENCE_S + 0.001)
    assert pace.retry_in(2.0) is None


def test_one_that_can_answer_gets_time_to() -> None:
    pace = Pace()
    pace.sent(500, 0.0)
    pace.answered(0.1)
    pace.sent(500, 1.0)
    assert not pace.ready(1.0 + PATIENCE_S)
    assert pace.ready(1.0 + LOST_S)
    assert pace.asks


def test_an_answer_nobody_waited_for_changes_nothing() -> None:
    pace = Pace()
    assert not pace.answered(1.0)
    assert pace.rtt == 0.0


def test_frames_are_cut_to_what_a_slow_line_takes_and_never_below_a_row() -> None:
    pace = Pace()
    assert pace.budget() is None
    pace.sent(4000, 0.0)
    pace.answered(1.0)
    assert pace.budget() == 4000 * FRAME_S
    pace.sent(400, 1.0)
    pace.answered(3.0)
    assert pace.budget() == LEAST
    pace.sent(1_000_000, 3.0)
    pace.answered(3.0 + 1_000_000 / (2 * FAST))
    assert pace.budget() is None


def test_short_frames_say_nothing_about_the_rate() -> None:
    pace = Pace()
    pace.sent(20, 0.0)
    pace.answered(0.3)
    assert pace.rate == 0.0


def test_who_answers_the_greeting_gets_time_for_a_whole_screen() -> None:
    pace = Pace()
    pace.greeted(0.0)
    assert pace.ready(0.0)
    pace.sent(6000, 0.1)
    assert not pace.answered(0.2)
    assert not pace.ready(2.9)
    assert pace.answered(3.1)
    assert pace.rate == 2000.0


def test_a_late_first_answer_is_an_answer() -> None:
    """A whole screen takes a slow line longer than the patience with a terminal that may be deaf."""
    pace = Pace()
    pace.sent(6000, 0.0)
    assert pace.ready(1.5)
    assert not pace.asks
    assert pace.answered(3.0)
    assert pace.asks
    assert pace.rate == 2000.0

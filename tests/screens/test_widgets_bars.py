"""Lanes of progress, and numbers as an operator reads them."""

from __future__ import annotations

import pytest
from stage import Stage, lines

from pipeline.engine.state import StageState
from screens.terminal.glyphs import ASCII
from screens.widgets.bars import Bar, Bars
from screens.widgets.units import spoken_amount, spoken_bytes, spoken_duration, spoken_number

LANE = Bar("a", "shard 0", 12, 56, "samples", 0.4, (95.0, 130.0), StageState.RUNNING)


async def test_a_lane_tells_state_name_share_amount_rate_and_when() -> None:
    bars = Bars([LANE])
    async with Stage(bars).run_test(size=(130, 20)):
        (line,) = lines(bars)
    assert line.startswith("\u25b6R shard 0 ")
    for fact in ("21%", "12/56 samples", "0.4 samples/s", "1m35s-2m10s"):
        assert fact in line


async def test_what_does_not_fit_gives_way_from_the_right() -> None:
    bars = Bars([LANE])
    async with Stage(bars).run_test(size=(60, 20)) as pilot:
        (line,) = lines(bars)
        assert "12/56 samples" in line
        assert "2m10s" not in line
        await pilot.resize_terminal(130, 20)
        await pilot.pause()
        assert "2m10s" in lines(bars)[0]


async def test_without_a_total_there_is_no_share() -> None:
    bars = Bars([LANE._replace(total=None), LANE._replace(key="b", total=0, done=0)])
    async with Stage(bars).run_test(size=(130, 20)):
        unknown, empty = lines(bars)
    assert "%" not in unknown
    assert "12 samples" in unknown
    assert "100%" in empty


async def test_hundred_percent_means_done() -> None:
    bars = Bars([LANE._replace(done=9999, total=10000), LANE._replace(key="b", done=10000, total=10000)])
    async with Stage(bars).run_test(size=(130, 20)):
        almost, done = lines(bars)
    assert "99%" in almost
    assert "100%" in done
    assert "2m10s" not in done


async def test_only_changed_lanes_are_painted() -> None:
    bars = Bars([LANE, LANE._replace(key="b", label="shard 1")])
    async with Stage(bars).run_test(size=(130, 20)) as pilot:
        await pilot.pause()
        rows: list[int] = []
        bars.refresh_rows = lambda first, count=1: rows.append(first)
        bars.show([LANE, LANE._replace(key="b", label="shard 1", done=13)])
        assert rows == [1]
        bars.show([LANE])
        await pilot.pause()
        assert bars.size.height == 1


async def test_ascii_lanes_and_hostile_labels() -> None:
    bars = Bars([LANE._replace(label="\x1b[31m\u6f22\n" * 20)])
    async with Stage(bars, glyphs=ASCII).run_test(size=(60, 20)):
        (line,) = lines(bars)
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (float("nan"), "nan"),
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1k"),
        (1_234_567, "1.23M"),
        (999_999, "1M"),
        (0.31415, "0.314"),
        (3.14159, "3.14"),
        (0.00001234, "1.2e-05"),
        (-1500, "-1.5k"),
        (1e21, "1000000P"),
    ],
)
def test_numbers(value, said: str) -> None:
    assert spoken_number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 B"),
        (1023, "0.999 KiB"),
        (8 << 20, "8 MiB"),
        (277.71 * 2**30, "278 GiB"),
        (1.5 * 2**40, "1.5 TiB"),
        (None, "-"),
    ],
)
def test_bytes(value, said: str) -> None:
    assert spoken_bytes(value) == said
    if value is not None:
        assert spoken_amount(value, "B") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (3725, "1h02m"),
        (90000, "1d01h"),
        (float("inf"), "-"),
    ],
)
def test_durations(seconds, said: str) -> None:
    assert spoken_duration(seconds) == said

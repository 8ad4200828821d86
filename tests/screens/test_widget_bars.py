"""Bars repaint the lane that moved and never say 100 % too early."""

from __future__ import annotations

import pytest
from widget_gallery import HOSTILE, Holding, lanes, refreshed, shown

from pipeline.engine.gates import Verdict
from pipeline.engine.state import StageState
from screens.terminal.glyphs import ASCII, BLOCK, BRAILLE, Glyphs
from screens.widgets.bars import Bar, Bars

SETS = pytest.mark.parametrize("glyphs", [BRAILLE, BLOCK, ASCII], ids=lambda glyphs: glyphs.name)


@SETS
def test_a_bar_has_its_width_and_fills_to_the_fraction(glyphs: Glyphs) -> None:
    full = glyphs.eighths[-1]
    assert glyphs.bar(0.0, 10) == glyphs.empty * 10
    assert glyphs.bar(0.5, 10) == full * 5 + glyphs.empty * 5
    assert glyphs.bar(7.0, 10) == full * 10
    assert glyphs.bar(-1.0, 3) == glyphs.empty * 3
    assert glyphs.bar(0.5, 0) == ""


@SETS
def test_no_state_or_verdict_is_told_by_colour_alone(glyphs: Glyphs) -> None:
    assert len({glyphs.state(state).letter for state in StageState}) == len(StageState)
    assert len({glyphs.verdict(verdict).letter for verdict in Verdict}) == len(Verdict)
    if glyphs is ASCII:
        assert (glyphs.state_glyphs + glyphs.verdict_glyphs).isascii()


async def test_only_the_lane_that_moved_is_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = Bars([Bar(str(n), f"shard {n}", 1, 10) for n in range(5)])
    async with Holding(bars).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        regions = refreshed(bars, monkeypatch)
        bars.show([Bar(str(n), f"shard {n}", 2 if n == 3 else 1, 10) for n in range(5)])
        assert [(region.y, region.height) for region in regions] == [(3, 1)]


async def test_a_lane_tells_amounts_rate_and_time_left() -> None:
    bars = lanes()
    async with Holding(bars).run_test(size=(120, 24)):
        samples, relay, scan = shown(bars)
        assert "21%" in samples
        assert "12/56 samples" in samples
        assert "1m35s-2m10s" in samples
        assert "5 GiB/9 GiB" in relay
        assert "8 MiB/s" in relay
        assert "%" not in scan


async def test_almost_done_is_not_done() -> None:
    bars = Bars([Bar("a", HOSTILE, 999_999, 1_000_000), Bar("b", "none", 0, 0)])
    async with Holding(bars).run_test(size=(80, 24)):
        first, second = shown(bars)
        assert " 99%" in first
        assert "100%" in second
        assert "\x1b" not in first

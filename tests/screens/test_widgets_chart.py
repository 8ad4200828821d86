"""Curves: no spike is lost, no gap is hidden, axes hold still."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import Stage, lines

from screens.terminal.glyphs import ASCII, BRAILLE, SETS
from screens.widgets.chart import Chart, Series
from screens.widgets.plot import Scale, decimate, nice_scale

finite = st.floats(-1e12, 1e12)


@given(st.lists(st.floats(), min_size=1, max_size=300), st.integers(2, 40))
def test_decimation_keeps_the_extremes_and_admits_every_gap(ys: list[float], columns: int) -> None:
    xs = list(range(len(ys)))
    spans = [s for s in decimate(xs, ys, Scale(0, max(1, len(ys) - 1)), columns) if s is not None]
    good = [y for y in ys if math.isfinite(y)]
    assert any(s.broken for s in spans) == (len(good) < len(ys))
    if good:
        assert min(s.low for s in spans if not math.isnan(s.low)) == min(good)
        assert max(s.high for s in spans if not math.isnan(s.high)) == max(good)


def test_points_in_any_order_draw_the_same() -> None:
    xs, ys = [0.0, 1.0, 2.0, 3.0], [5.0, 1.0, 4.0, 2.0]
    shuffled = [2, 0, 3, 1]
    axis = Scale(0, 3)
    assert decimate(xs, ys, axis, 4) == decimate(
        [xs[i] for i in shuffled], [ys[i] for i in shuffled], axis, 4
    )


def test_a_logarithmic_axis_cannot_show_what_is_not_positive() -> None:
    spans = decimate([0, 1, 2], [1.0, 0.0, -1.0], Scale(0, 2), 3, positive=True)
    assert [s.broken for s in spans if s] == [False, True, True]


@given(finite, finite)
def test_axes_hold_their_values_with_little_room_to_spare(a: float, b: float) -> None:
    low, high = sorted((a, b))
    scale = nice_scale(low, high)
    room = abs(high - low) or abs(low) or 1.0
    assert scale.low <= low + room * 1e-6
    assert scale.high >= high - room * 1e-6
    assert scale.high > scale.low or high - low < abs(low) * 1e-9


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_logarithmic_axes_hold_their_values(a: float, b: float) -> None:
    low, high = sorted((a, b))
    scale = nice_scale(low, high, log=True)
    assert scale.low <= low * (1 + 1e-6)
    assert scale.high >= high * (1 - 1e-6)
    assert scale.high > scale.low
    assert scale.place(scale.low) == pytest.approx(0)
    assert scale.value(scale.place(low)) == pytest.approx(low)


def test_an_axis_does_not_change_with_every_point() -> None:
    assert len({nice_scale(0, high) for high in range(1001, 1200)}) == 1


async def test_a_spike_one_step_wide_among_many_is_seen() -> None:
    chart = Chart(x_unit="step")
    ys = [1.0] * 20_000
    ys[12_345] = 9.0
    async with Stage(chart).run_test(size=(80, 20)):
        chart.plot([Series("loss", range(20_000), ys)])
        rows = lines(chart)
    assert rows[1][9:].strip()
    assert rows[2][9:].strip()


@pytest.mark.parametrize("glyphs", SETS.values(), ids=SETS)
async def test_what_is_not_a_number_interrupts_the_curve_and_is_counted(glyphs) -> None:
    chart = Chart()
    ys = [1.0] * 30 + [math.nan] * 40 + [2.0] * 30
    async with Stage(chart, glyphs=glyphs).run_test(size=(110, 20)):
        chart.plot([Series("loss", range(100), ys)])
        rows = lines(chart)
    assert "40 not finite" in rows[0]
    floor = rows[-2]
    assert glyphs.gap in floor
    middle = floor.index(glyphs.gap) + 3
    assert all(len(row) <= middle or row[middle] == " " for row in rows[1:-2])


async def test_curves_are_told_apart_by_letters() -> None:
    chart = Chart(y_unit="loss")
    async with Stage(chart, theme="mono").run_test(size=(80, 20)):
        chart.plot([Series("train", [0, 1], [1.0, 2.0]), Series("val", [0, 1], [2.0, 1.0])])
        text = lines(chart)
    assert "A train 2" in text[0]
    assert "B val 1" in text[0]
    assert any(row.endswith("A") for row in text[1:])
    assert any(row.endswith("B") for row in text[1:])


async def test_the_best_point_is_marked_and_named() -> None:
    chart = Chart()
    async with Stage(chart).run_test(size=(80, 20)):
        chart.plot([Series("val", [0, 100, 200], [3.0, 1.0, 2.0], best="min")])
        rows = lines(chart)
    assert f"{BRAILLE.best}1@100" in rows[0]
    assert any(BRAILLE.best in row for row in rows[1:])


async def test_only_rows_that_differ_are_painted_again() -> None:
    chart = Chart()
    async with Stage(chart).run_test(size=(80, 20)) as pilot:
        chart.plot([Series("a", list(range(100)), [1.0] * 100), Series("b", [0, 100], [0.0, 4.0])])
        await pilot.pause()
        rows: list[int] = []
        chart.refresh_rows = lambda first, count=1: rows.append(first)
        chart.plot([Series("a", list(range(100)), [1.0] * 99 + [1.2]), Series("b", [0, 100], [0.0, 4.0])])
        assert 0 < len(rows) < 6


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (20, 4), (300, 100)])
@pytest.mark.parametrize("points", [0, 1, 2, 5000])
async def test_any_size_and_any_number_of_points(size, points: int) -> None:
    chart = Chart(title="t\x1b[0m", x_unit="step")
    async with Stage(chart).run_test(size=size):
        for log in (False, True):
            chart.log_axis = log
            chart.plot([Series("a", range(points), [math.sin(i) for i in range(points)], best="max")])
            chart.window = (1, 2)
            chart.window = None
            assert all("\x1b" not in row for row in lines(chart))


async def test_ascii_is_ascii() -> None:
    chart = Chart(title="\u6f22", x_unit="\u6f22")
    async with Stage(chart, glyphs=ASCII).run_test(size=(80, 20)):
        chart.plot([Series("\u6f22", [0, 1, 2], [1.0, math.inf, 2.0], best="min")])
        assert "".join(lines(chart)).isascii()


async def test_without_points_it_says_so() -> None:
    chart = Chart(empty="waiting for the first step")
    async with Stage(chart).run_test(size=(80, 20)):
        chart.plot([Series("a", [0, 1], [math.nan, math.nan])])
        assert "waiting for the first step" in lines(chart)[0]

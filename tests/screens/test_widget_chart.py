"""A chart loses no extreme, never bridges a gap, and draws at any size."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widget_gallery import Holding, curves, refreshed, shown

from screens.terminal.glyphs import ASCII, BLOCK, BRAILLE, Glyphs
from screens.widgets.chart import Chart, Series
from screens.widgets.curves import Canvas, Scale, sparkline, thinned

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.floats(width=32), min_size=1, max_size=300), st.integers(1, 40))
def test_thinning_keeps_the_least_and_the_greatest(values: list[float], columns: int) -> None:
    points = [(float(x), y) for x, y in enumerate(values)]
    finite = [y for y in values if math.isfinite(y)]
    across, up = Scale.around([x for x, _ in points]), Scale.around(finite)
    spans, gaps = thinned(points, across, up, columns)
    assert bool(gaps) == (len(finite) < len(values))
    assert all(0 <= span.column < columns for span in spans)
    if finite:
        assert min(span.low for span in spans) == min(finite)
        assert max(span.high for span in spans) == max(finite)


@given(FINITE, FINITE, FINITE)
def test_a_scale_puts_every_value_between_its_ends(a: float, b: float, c: float) -> None:
    scale = Scale.around([a, b, c])
    low, middle, high = (scale.fraction(v) for v in sorted([a, b, c]))
    assert 0 <= low <= middle <= high <= 1


def test_a_log_scale_has_no_place_for_zero() -> None:
    scale = Scale.around([1.0, 100.0], log=True)
    assert scale.fraction(10.0) == pytest.approx(0.5)
    assert scale.value(0.5) == pytest.approx(10.0)
    assert not scale.shows(0.0)
    assert not scale.shows(math.nan)


def drawn(glyphs: Glyphs, values: list[float]) -> list[str]:
    """The canvas of a curve over its index, six by two cells."""
    across, up = Scale(0, 11), Scale(0, 1)
    canvas = Canvas(glyphs, 6, 2)
    spans, _ = thinned(list(enumerate(values)), across, up, canvas.across)
    canvas.draw(spans, up, 0)
    return ["".join(text for text, _ in canvas.rendered(row)) for row in range(2)]


def test_a_flat_curve_is_a_line_in_every_set() -> None:
    assert drawn(BRAILLE, [0.0] * 12) == ["      ", "\u28c0" * 6]
    assert drawn(BLOCK, [1.0] * 12) == ["\u2580" * 6, "      "]
    assert drawn(ASCII, [1.0] * 12) == ["******", "      "]


def test_sparse_points_are_joined_but_not_across_a_gap() -> None:
    joined = drawn(BRAILLE, [0.0] + [0.0] * 10 + [0.0])
    assert drawn(BRAILLE, [0.0, *[math.nan] * 10, 0.0]) == ["      ", "\u2840    \u2880"]
    assert joined[1].count("\u28c0") == 6


def test_sparkline_shows_peaks_and_gaps() -> None:
    assert sparkline(BRAILLE, [0, 1], 10) == "\u2581\u2588"
    assert sparkline(ASCII, [0, math.nan, 1], 10) == "_?#"
    assert sparkline(BRAILLE, [0] * 50 + [9] + [0] * 49, 10).index("\u2588") == 5
    assert sparkline(BRAILLE, [], 10) == sparkline(BRAILLE, [1], 0) == ""
    assert len(sparkline(BLOCK, [math.inf] * 3, 2)) == 2


async def test_a_gap_the_best_point_and_the_units_are_told() -> None:
    chart = curves()
    async with Holding(chart).run_test(size=(80, 24)):
        lines = shown(chart)
        assert lines[0].startswith("loss")
        assert "1 train" in lines[0]
        assert "2 val" in lines[0]
        assert BRAILLE.best in "".join(lines[1:-2])
        assert BRAILLE.gap in lines[-3]
        assert lines[-1].rstrip().endswith("999 step")


async def test_the_same_curves_repaint_nothing_and_one_more_point_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [(float(x), 0.0) for x in range(100)]
    points[0] = (0.0, 1.0)
    chart = Chart()
    async with Holding(chart).run_test(size=(80, 24)) as pilot:
        chart.show([Series("loss", points)])
        await pilot.pause()
        regions = refreshed(chart, monkeypatch)
        chart.show([Series("loss", list(points))])
        assert regions == []
        chart.show([Series("loss", [*points[:-1], (99.0, 0.02)])])
        assert regions
        assert len(regions) < 4
        assert all(region.height == 1 for region in regions)


async def test_no_values_is_said() -> None:
    chart = Chart(unit="loss", logarithmic=True)
    async with Holding(chart).run_test(size=(80, 24)) as pilot:
        assert shown(chart)[0].strip() == "loss: no values yet"
        chart.show([Series("x", [(0, math.nan), (1, -1.0), (2, 0.0)])])
        await pilot.pause()
        assert shown(chart)[0].strip() == "loss: no values yet"
        chart.logarithmic = False
        await pilot.pause()
        assert "no values" not in shown(chart)[0]


@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCK, ASCII], ids=lambda glyphs: glyphs.name)
@pytest.mark.parametrize("size", [(1, 1), (4, 2), (24, 5), (25, 6), (300, 80)])
async def test_any_size_works(glyphs: Glyphs, size: tuple[int, int]) -> None:
    chart = curves()
    chart.styles.width, chart.styles.height = size
    async with Holding(chart, glyphs=glyphs).run_test(size=(320, 100)):
        assert tuple(chart.size) == size
        for y in range(chart.size.height):
            strip = chart.render_line(y)
            assert strip.cell_length == chart.line_width
            assert glyphs is not ASCII or strip.text.isascii()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=40), st.booleans())
def test_any_points_can_be_drawn(points: list[tuple[float, float]], log: bool) -> None:
    values = [y for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]
    up = Scale.around(values, log=log)
    canvas = Canvas(BRAILLE, 20, 5)
    ordered = sorted(points, key=lambda point: point[0])
    across = Scale.around([x for x, _ in ordered if math.isfinite(x)])
    canvas.draw(thinned(ordered, across, up, canvas.across)[0], up, 0)
    assert all(len(list(canvas.rendered(row))) == 20 for row in range(5))

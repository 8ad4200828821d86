"""Curves that keep their spikes and admit their gaps.

How to use it:

    chart = Chart(x_unit="step", y_unit="loss")
    chart.plot([Series("train", steps, losses, best="min"), Series("val", steps2, losses2, tone="accent")])
    chart.log_axis = True
    chart.window = (1000, 2000)                # None shows everything

Each curve has a letter: at its end and in the legend, so that it is known without colour. NaN and infinite
values interrupt a curve and leave a mark on the axis below; the legend counts them. Only rows that
look different are repainted, and a chart that is not on the current screen is not computed at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from textual.strip import Strip

from pipeline.engine.text import cell_width
from screens.widgets.lines import LineView, Piece
from screens.widgets.plot import Canvas, Scale, Span, decimate, draw_curve, nice_scale
from screens.widgets.units import spoken_number

#: Cells of the labels left of the y axis.
MARGIN = 8
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Series(NamedTuple):
    """One curve.

    Attributes:
        name: for the legend.
        xs, ys: points by ascending x, of equal length; never changed after they were handed over.
        tone: its colour.
        best: which extreme to mark.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    tone: str = "primary"
    best: Literal["min", "max", ""] = ""


class Chart(LineView, can_focus=False):
    """Curves on axes; see the module.

    Args:
        title: stands before the legend.
        x_unit, y_unit: what the axes count.
        empty: what shows when there is no point.
    """

    DEFAULT_CSS = "Chart { height: 1fr; overflow-y: hidden; }"

    def __init__(
        self,
        *,
        title: str = "",
        x_unit: str = "",
        y_unit: str = "",
        empty: str = "no points yet",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._title, self._x_unit, self._y_unit, self._empty = title, x_unit, y_unit, empty
        self._series: list[Series] = []
        self._log = False
        self._window: tuple[float, float] | None = None
        self._rows: list[list[Piece]] = []
        self._drawn: object = None

    def plot(self, series: Sequence[Series]) -> None:
        """Show these curves."""
        self._series = list(series)
        self._redraw()

    @property
    def log_axis(self) -> bool:
        """Whether the y axis is logarithmic."""
        return self._log

    @log_axis.setter
    def log_axis(self, log: bool) -> None:
        self._log = log
        self._redraw()

    @property
    def window(self) -> tuple[float, float] | None:
        """The part of the x axis that shows; None for all of it."""
        return self._window

    @window.setter
    def window(self, window: tuple[float, float] | None) -> None:
        self._window = window
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One row of the picture."""
        width = self.line_width
        if self._drawn != (width, self.size.height):
            self._rows = self._picture(width, self.size.height)
            self._drawn = (width, self.size.height)
        return self.line(self._rows[y] if y < len(self._rows) else [], width)

    def _redraw(self) -> None:
        """Repaint the rows that differ; if nobody sees them, only note that they are out of date."""
        size = (self.line_width, self.size.height) if self.is_mounted else None
        if size is None or size != self._drawn or not self.screen.is_current:
            self._drawn = None
            self.refresh()
            return
        before, self._rows = self._rows, self._picture(*size)
        for y, (old, new) in enumerate(zip(before, self._rows, strict=True)):
            if old != new:
                self.refresh_rows(y)

    # ---- the picture ------------------------------------------------------------------------------

    def _picture(self, width: int, height: int) -> list[list[Piece]]:
        """All rows: legend, curves beside the y axis, x axis, its labels."""
        glyphs = self.glyphs
        columns, rows = width - MARGIN - 1, height - 3
        bounds = self._bounds()
        if bounds is None or columns < 8 or rows < 2:
            text = self._empty if bounds is None else "no room for a chart"
            return [[(glyphs.text(text, width), "muted")], *[[] for _ in range(height - 1)]]
        x_axis, y_axis = bounds
        canvas = Canvas(glyphs, columns, rows)
        curves = [
            decimate(s.xs, s.ys, x_axis, columns * canvas.across, positive=self._log) for s in self._series
        ]
        for number, (series, spans) in enumerate(zip(self._series, curves, strict=True)):
            draw_curve(canvas, spans, y_axis, series.tone, number)
        for number, (series, spans) in enumerate(zip(self._series, curves, strict=True)):
            self._mark(canvas, series, spans, y_axis, number)
        picture = [self._legend(width)]
        picture += [[(self._y_label(row, rows, y_axis), "muted"), *canvas.line(row)] for row in range(rows)]
        picture.append(
            [(" " * MARGIN + glyphs.corner, "muted"), *self._floor(curves, columns, canvas.across)]
        )
        picture.append([(self._x_labels(x_axis, columns), "muted")])
        return picture

    def _bounds(self) -> tuple[Scale, Scale] | None:
        """Both axes, or None without a point that can be shown."""
        window = self._window
        xs = [x for s in self._series if s.xs for x in (min(s.xs), max(s.xs))]
        if not xs:
            return None
        ys = [y for s in self._series for y in _extremes(s, window, positive=self._log)]
        if not ys:
            return None
        x_axis = Scale(*window) if window and window[1] > window[0] else nice_scale(min(xs), max(xs))
        return x_axis, nice_scale(min(ys), max(ys), log=self._log)

    def _mark(
        self, canvas: Canvas, series: Series, spans: list[Span | None], axis: Scale, number: int
    ) -> None:
        """Put the curve's letter at its end and a mark at its best point."""
        top = canvas.rows * canvas.down - 1
        known = [(x, span) for x, span in enumerate(spans) if span is not None and not math.isnan(span.low)]
        if not known:
            return
        x, span = known[-1]
        last = span.last if not math.isnan(span.last) else span.high
        if len(self._series) > 1:
            canvas.put(x, round(axis.place(last) * top), LETTERS[number % 26], f"{series.tone} bold")
        if series.best:
            pick = min if series.best == "min" else max
            x, span = pick(known, key=lambda item: item[1].low if series.best == "min" else item[1].high)
            value = span.low if series.best == "min" else span.high
            canvas.put(x, round(axis.place(value) * top), self.glyphs.best, "accent bold")

    def _legend(self, width: int) -> list[Piece]:
        glyphs = self.glyphs
        pieces: list[Piece] = [(glyphs.text(self._title) + "  ", "text bold")] if self._title else []
        pieces.append((self._y_unit + (" (log)" if self._log else "") + "  ", "muted"))
        for number, series in enumerate(self._series):
            letter = f"{LETTERS[number % 26]} " if len(self._series) > 1 else ""
            pieces.append((f"{letter}{glyphs.text(series.name, 24)} ", f"{series.tone} bold"))
            pieces.append((_summary(series, glyphs.best) + "  ", "muted"))
        room = width
        fitting: list[Piece] = []
        for text, tone in pieces:
            cut = glyphs.text(text, room)
            fitting.append((cut, tone))
            room -= cell_width(cut)
        return fitting

    def _y_label(self, row: int, rows: int, axis: Scale) -> str:
        """A number at the top, in the middle and at the bottom, and the axis."""
        labelled = row in (0, rows // 2, rows - 1)
        text = spoken_number(axis.value(1 - row / max(1, rows - 1))) if labelled else ""
        return f"{text[:MARGIN]:>{MARGIN}}{self.glyphs.cross if labelled else self.glyphs.vertical}"

    def _floor(self, curves: list[list[Span | None]], columns: int, across: int) -> list[Piece]:
        """The x axis, marked where some curve was not a number."""
        broken = {x // across for spans in curves for x, s in enumerate(spans) if s is not None and s.broken}
        glyphs = self.glyphs
        return [
            (glyphs.gap, "error bold") if x in broken else (glyphs.horizontal, "muted")
            for x in range(columns)
        ]

    def _x_labels(self, axis: Scale, columns: int) -> str:
        left = spoken_number(axis.low)
        middle = spoken_number(axis.value(0.5))
        right = f"{spoken_number(axis.high)} {self.glyphs.text(self._x_unit)}".rstrip()
        room = columns - len(left) - cell_width(right)
        if room < len(middle) + 4:
            return " " * (MARGIN + 1) + self.glyphs.text(left + " " * max(1, room) + right, columns)
        before = max(1, columns // 2 - len(left) - len(middle) // 2)
        after = " " * max(1, room - before - len(middle))
        return " " * (MARGIN + 1) + left + " " * before + middle + after + right


def _extremes(series: Series, window: tuple[float, float] | None, *, positive: bool) -> list[float]:
    """Least and greatest value that can be shown."""
    ys: Sequence[float] = series.ys
    if window is not None:
        ys = [y for x, y in zip(series.xs, ys, strict=True) if window[0] <= x <= window[1]]
    if not ys:
        return []
    if not math.isfinite(sum(ys)) or positive:
        ys = [y for y in ys if math.isfinite(y) and (y > 0 or not positive)]
    return [min(ys), max(ys)] if ys else []


def _summary(series: Series, best: str) -> str:
    """The last value, the best one and where it was, and how many were not numbers."""
    if not series.ys:
        return "-"
    text = spoken_number(series.ys[-1])
    good = [(y, x) for x, y in zip(series.xs, series.ys, strict=True) if math.isfinite(y)]
    if series.best and good:
        y, x = min(good) if series.best == "min" else max(good, key=lambda pair: pair[0])
        text += f" {best}{spoken_number(y)}@{spoken_number(x)}"
    lost = len(series.ys) - len(good)
    return f"{text} {lost} not finite" if lost else text

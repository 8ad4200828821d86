"""Curves over steps or time, with axes, a legend and the best point of each.

How to use it:

    chart = Chart(unit="loss", x_unit="step", logarithmic=True)
    chart.show([Series("train", [(0, 2.3), (10, 1.9)]), Series("val", points, tone="accent", best="min")])
    chart.logarithmic = False

`show` takes all points each time and repaints the rows that came out different. Thinning keeps the least
and the greatest value of every dot column; values that are not numbers (or, on a log axis, not positive)
leave a gap and a mark at the foot. Curves differ in colour and, where there are several, in the digit at
their end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

from textual.strip import Strip

from pipeline.engine.text import cell_width
from screens.widgets.curves import Canvas, Point, Scale, thinned
from screens.widgets.lines import LineView, Piece
from screens.widgets.units import spoken_number

#: Cells for the labels left of the axis, and the least that a picture with axes takes.
LABEL = 8
LEAST_WIDTH, LEAST_HEIGHT = 24, 5


class Series(NamedTuple):
    """One curve.

    Attributes:
        name: for the legend; may be foreign text.
        points: `(x, y)` by ascending x.
        tone: its colour.
        best: which of its points is best, if any is.
    """

    name: str
    points: Sequence[Point]
    tone: str = "primary"
    best: Literal["", "min", "max"] = ""

    @property
    def best_point(self) -> Point | None:
        """The first best point; None without one."""
        finite = [point for point in self.points if all(map(math.isfinite, point))]
        if not self.best or not finite:
            return None
        return (min if self.best == "min" else max)(finite, key=lambda point: point[1])


class Chart(LineView, can_focus=False):
    """Curves; see the module.

    Args:
        unit: of y.
        x_unit: of x.
        logarithmic: whether y is logarithmic.
        empty: what shows when there are no values.
    """

    DEFAULT_CSS = "Chart { overflow-y: hidden; min-height: 1; }"

    def __init__(
        self,
        *,
        unit: str = "",
        x_unit: str = "step",
        logarithmic: bool = False,
        empty: str = "no values yet",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._unit, self._x_unit, self._empty = unit, x_unit, empty
        self._logarithmic = logarithmic
        self._series: list[Series] = []
        self._picture: list[list[Piece]] = []
        self._drawn_for: tuple[int, int] = (-1, -1)

    @property
    def logarithmic(self) -> bool:
        """Whether y is logarithmic."""
        return self._logarithmic

    @logarithmic.setter
    def logarithmic(self, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        self._redraw()

    def show(self, series: Sequence[Series]) -> None:
        """Show these curves."""
        self._series = list(series)
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One line of the picture."""
        width, height = self.line_width, self.size.height
        if self._drawn_for != (width, height):
            self._picture, self._drawn_for = self._draw(width, height), (width, height)
        return self.line(self._picture[y] if y < len(self._picture) else [], width)

    def _redraw(self) -> None:
        """Draw anew and repaint the rows that differ."""
        if not self.is_mounted or self._drawn_for != (self.line_width, self.size.height):
            self._drawn_for = (-1, -1)
            self.refresh()
            return
        before, self._picture = self._picture, self._draw(*self._drawn_for)
        for row in range(max(len(before), len(self._picture))):
            if before[row : row + 1] != self._picture[row : row + 1]:
                self.refresh_rows(row)

    # ---- the picture ------------------------------------------------------------------------------

    def _draw(self, width: int, height: int) -> list[list[Piece]]:
        up = self._up()
        if up is None:
            return [[(self.glyphs.text(self._title(self._empty), width), "muted")]]
        legend = self._legend(width)
        if width < LEAST_WIDTH or height < LEAST_HEIGHT:
            return [legend]
        across = Scale.around([x for s in self._series for x, _ in s.points if math.isfinite(x)])
        canvas = Canvas(self.glyphs, width - LABEL - 1, height - 3)
        marks = self._plot(canvas, across, up)
        labels = self._labels(up, canvas.rows)
        rows = [self._row(canvas, row, labels.get(row, ""), marks) for row in range(canvas.rows)]
        return [legend, *rows, self._axis(canvas.columns), self._foot(across, width)]

    def _up(self) -> Scale | None:
        """The scale of y; None if there is nothing to show."""
        kind = Scale(1.0, 10.0, log=self._logarithmic)
        values = [y for s in self._series for x, y in s.points if math.isfinite(x) and kind.shows(y)]
        return Scale.around(values, log=self._logarithmic) if values else None

    def _plot(self, canvas: Canvas, across: Scale, up: Scale) -> dict[tuple[int, int], Piece]:
        """Draw every curve; return what stands in front of them, by cell."""
        marks: dict[tuple[int, int], Piece] = {}
        for number, series in enumerate(self._series):
            spans, gaps = thinned(series.points, across, up, canvas.across)
            canvas.draw(spans, up, number)
            for column in gaps:
                marks[canvas.cell_of(column, canvas.down - 1)] = (self.glyphs.gap, "error bold")
            if spans and len(self._series) > 1:
                end = canvas.cell_of(spans[-1].column, canvas.row_of(up.fraction(spans[-1].last)))
                marks[end] = (_digit(number), f"{series.tone} bold")
            best = series.best_point
            if best is not None and up.shows(best[1]):
                column = round(across.fraction(best[0]) * (canvas.across - 1))
                cell = canvas.cell_of(column, canvas.row_of(up.fraction(best[1])))
                marks[cell] = (self.glyphs.best, f"{series.tone} bold")
        return marks

    def _row(self, canvas: Canvas, row: int, label: str, marks: dict[tuple[int, int], Piece]) -> list[Piece]:
        pieces: list[Piece] = [(f"{label:>{LABEL - 1}} ", "muted"), (self.glyphs.vertical, "muted")]
        tones = [series.tone for series in self._series]
        cells = [
            marks.get((column, row), (text, tones[curve] if curve >= 0 else "text"))
            for column, (text, curve) in enumerate(canvas.rendered(row))
        ]
        runs = groupby(cells, key=lambda cell: cell[1])
        return pieces + [("".join(text for text, _ in run), tone) for tone, run in runs]

    def _labels(self, up: Scale, rows: int) -> dict[int, str]:
        """Values beside the axis: both ends, and the middle where there is room."""
        places = [0, rows - 1] if rows < 5 else [0, (rows - 1) // 2, rows - 1]
        values = [up.value(1 - row / max(1, rows - 1)) for row in places]
        texts = [spoken_number(value) for value in values]
        for digits in (4, 5, 6):
            if len(set(texts)) < len(texts):
                texts = [spoken_number(value, digits) for value in values]
        return {row: self.glyphs.text(text, LABEL - 1) for row, text in zip(places, texts, strict=True)}

    def _axis(self, columns: int) -> list[Piece]:
        unit = self.glyphs.text("log" if self._logarithmic else "", LABEL - 1)
        return [(f"{unit:>{LABEL - 1}} {self.glyphs.corner}{self.glyphs.horizontal * columns}", "muted")]

    def _foot(self, across: Scale, width: int) -> list[Piece]:
        """Ends of x, and its unit."""
        left, right = spoken_number(across.low), f"{spoken_number(across.high)} {self._x_unit}".rstrip()
        room = width - LABEL - 1 - len(left)
        text = " " * (LABEL + 1) + left + self.glyphs.text(right, room).rjust(room)
        return [(text, "muted")]

    def _legend(self, width: int) -> list[Piece]:
        """What is drawn, the last value of each curve, and its best."""
        pieces: list[Piece] = [(self.glyphs.text(self._title(""), width), "text bold")]
        room = width - cell_width(pieces[0][0])
        for number, series in enumerate(self._series):
            text = self.glyphs.text(("  " if pieces[-1][0] else "") + self._told(number, series), room)
            room -= cell_width(text)
            pieces.append((text, series.tone))
        return pieces

    def _told(self, number: int, series: Series) -> str:
        last = spoken_number(series.points[-1][1] if series.points else None)
        digit = f"{_digit(number)} " if len(self._series) > 1 else ""
        best = series.best_point
        told = f"{digit}{series.name} {last}".strip()
        if best is not None:
            told += f" {self.glyphs.best}{spoken_number(best[1])} at {spoken_number(best[0])}"
        return told

    def _title(self, rest: str) -> str:
        return f"{self._unit}: {rest}" if self._unit and rest else self._unit or rest


def _digit(number: int) -> str:
    """`1` for the first curve; beyond nine a plus."""
    return str(number + 1) if number < 9 else "+"

"""Curves as characters. Pure: numbers in, rows of pieces out.

Every column of dots shows the whole range of the values that fall into it (minimum to maximum), so a spike
one step wide stays visible among a million steps. What is not a number, and on a logarithmic axis what is
not positive, interrupts the curve and leaves a mark below it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from operator import le
from typing import NamedTuple

from screens.terminal.glyphs import Glyphs
from screens.widgets.lines import Piece

#: Bits of a braille cell by `[row of dots][column of dots]`.
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_HALVES = (" ", "\u2580", "\u2584", "\u2588")
#: Dots per cell, across and down.
_DOTS = {"braille": (2, 4), "block": (1, 2), "ascii": (1, 1)}
_ASCII_MARKS = "*+ox%@"


class Span(NamedTuple):
    """What falls into one column of dots.

    Attributes:
        low, high: range of its values; NaN if there is none.
        first, last: where the curve enters and leaves it.
        broken: something in it was not a number.
    """

    low: float
    high: float
    first: float
    last: float
    broken: bool


class Scale(NamedTuple):
    """An axis: `low` and `high` at its ends, `log` for a logarithmic one."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0..1 inside."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, place: float) -> float:
        """The value at a place; the inverse of `place`."""
        if self.log:
            return self.low * float((self.high / self.low) ** place)
        return self.low + (self.high - self.low) * place


def nice_scale(low: float, high: float, *, log: bool = False) -> Scale:
    """Return an axis that holds `low` to `high`, its ends at round numbers so that it rarely changes."""
    if log:
        low, high = max(low, 1e-300), max(high, low, 1e-300)
        scale = Scale(_round(low, up=False), _round(high, up=True), log=True)
        return scale if scale.high > scale.low else Scale(scale.low, scale.low * 10, log=True)
    if not high > low:
        room = abs(low) / 2 or 1.0
        return Scale(low - room, low + room)
    step = _round((high - low) / 8, up=True)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def _round(value: float, *, up: bool) -> float:
    """The next 1, 2 or 5 times a power of ten at or beyond a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    factors = (1.0, 2.0, 5.0, 10.0)
    mantissa = value / power
    if up:
        return next((f for f in factors if f >= mantissa * (1 - 1e-9)), 10.0) * power
    return max((f for f in factors if f <= mantissa * (1 + 1e-9)), default=1.0) * power


def decimate(
    xs: Sequence[float], ys: Sequence[float], scale: Scale, columns: int, *, positive: bool = False
) -> list[Span | None]:
    """Sort points into columns.

    Args:
        xs: where the points are, usually ascending.
        ys: their values.
        scale: the x axis.
        columns: columns of dots.
        positive: whether only values above zero can be shown.

    Returns:
        One span per column, None where no point falls.
    """
    if not all(map(le, xs, xs[1:])):
        pairs = sorted(zip(xs, ys, strict=True), key=lambda pair: pair[0])
        xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    edges = [scale.value((column - 0.5) / max(1, columns - 1)) for column in range(columns + 1)]
    spans: list[Span | None] = []
    start = bisect_left(xs, edges[0])
    for column in range(columns):
        stop = bisect_left(xs, edges[column + 1], start)
        spans.append(_span(ys[start:stop], positive) if stop > start else None)
        start = stop
    return spans


def _span(ys: Sequence[float], positive: bool) -> Span:
    if math.isfinite(sum(ys)) and (low := min(ys)) > (0.0 if positive else -math.inf):
        return Span(low, max(ys), ys[0], ys[-1], False)
    good = [y for y in ys if math.isfinite(y) and (y > 0 or not positive)]
    if not good:
        return Span(math.nan, math.nan, math.nan, math.nan, True)
    first = good[0] if good[0] == ys[0] else math.nan
    last = good[-1] if good[-1] == ys[-1] else math.nan
    return Span(min(good), max(good), first, last, len(good) < len(ys))


class Canvas:
    """Dots on cells.

    Args:
        glyphs: the character set; decides how many dots a cell has.
        columns, rows: cells.
    """

    def __init__(self, glyphs: Glyphs, columns: int, rows: int) -> None:
        self._name = glyphs.name
        self.across, self.down = _DOTS[glyphs.name]
        self.columns, self.rows = columns, rows
        self._dots = [[0] * columns for _ in range(rows)]
        self._tones = [["text"] * columns for _ in range(rows)]
        self._over: dict[tuple[int, int], Piece] = {}

    def column(self, x: int, low: int, high: int, tone: str, mark: str) -> None:
        """Set the dots `low` to `high` (counted from the bottom) of a column of dots."""
        column, bit_x = divmod(x, self.across)
        top = self.rows * self.down - 1
        for dot in range(max(0, low), min(top, high) + 1):
            row, bit_y = divmod(top - dot, self.down)
            self._dots[row][column] = self._with_dot(self._dots[row][column], bit_x, bit_y, mark)
            self._tones[row][column] = tone

    def _with_dot(self, cell: int, x: int, y: int, mark: str) -> int:
        """A cell with one more dot: a bit of a braille or block character, or the character itself."""
        if self._name == "ascii":
            return ord(mark)
        return cell | (_BRAILLE[y][x] if self._name == "braille" else 1 << y)

    def put(self, x: int, dot: int, glyph: str, tone: str) -> None:
        """Put a character over the cell of a dot."""
        row = self.rows - 1 - dot // self.down
        if 0 <= row < self.rows and 0 <= x // self.across < self.columns:
            self._over[row, x // self.across] = (glyph, tone)

    def line(self, row: int) -> list[Piece]:
        """One row, neighbours of one tone joined."""
        pieces: list[Piece] = []
        for column in range(self.columns):
            text, tone = self._over.get((row, column)) or (
                self._char(self._dots[row][column]),
                self._tones[row][column],
            )
            if pieces and pieces[-1][1] == tone:
                pieces[-1] = (pieces[-1][0] + text, tone)
            else:
                pieces.append((text, tone))
        return pieces

    def _char(self, dots: int) -> str:
        if not dots:
            return " "
        if self._name == "braille":
            return chr(0x2800 + dots)
        return _HALVES[dots] if self._name == "block" else chr(dots)


def draw_curve(canvas: Canvas, spans: Sequence[Span | None], scale: Scale, tone: str, number: int) -> None:
    """Draw one curve: each column's range, joined with its neighbours except across what is broken.

    Args:
        canvas: where.
        spans: one per column of dots, from `decimate`.
        scale: the y axis.
        tone: its colour.
        number: which of the curves it is; decides its character where there are no dots.
    """
    top = canvas.rows * canvas.down - 1
    mark = _ASCII_MARKS[number % len(_ASCII_MARKS)]

    def dot(value: float) -> int:
        return round(min(max(scale.place(value), 0.0), 1.0) * top)

    before: tuple[int, int] | None = None
    for x, span in enumerate(spans):
        if span is None:
            continue
        if math.isnan(span.low):
            before = None
            continue
        low, high = dot(span.low), dot(span.high)
        if before is not None and not math.isnan(span.first):
            _join(canvas, before, (x, dot(span.first)), tone, mark)
        canvas.column(x, low, high, tone, mark)
        before = None if math.isnan(span.last) else (x, dot(span.last))


def _join(canvas: Canvas, start: tuple[int, int], end: tuple[int, int], tone: str, mark: str) -> None:
    """Dots on the straight line from `start` to `end`, both given as (column, dot)."""
    (x0, y0), (x1, y1) = start, end
    for x in range(x0 + 1, x1 + 1):
        low, high = sorted((y0 + (y1 - y0) * (x - 1 - x0) / (x1 - x0), y0 + (y1 - y0) * (x - x0) / (x1 - x0)))
        canvas.column(x, round(low + (high - low > 1)), round(high), tone, mark)

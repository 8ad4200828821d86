"""Curves as characters: scales, thinning that keeps every extreme, and a canvas of dots. Pure.

A value that is not a number is never drawn and never bridged: a diverged loss must look like one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from screens.terminal.glyphs import Glyphs

Point = tuple[float, float]

#: Dots in one cell, across and down, per character set.
_DOTS = {"braille": (2, 4), "block": (1, 2), "ascii": (1, 1)}
#: Bits of a braille cell (Unicode 10.0, 21.1), by dot column and row.
_BRAILLE_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_HALVES = " \u2580\u2584\u2588"
#: What a curve is drawn with where a cell is one dot.
_PLAIN_DOTS = "*o+x#"


def sparkline(glyphs: Glyphs, values: Sequence[float], width: int) -> str:
    """Return one cell per value, or the highest of several per cell if there are more than `width`.

    Levels run from the least to the greatest finite value; a cell without one shows `glyphs.gap`.
    """
    cells = min(width, len(values))
    if cells <= 0:
        return ""
    edges = [place * len(values) // cells for place in range(cells + 1)]
    peaks = [max(filter(math.isfinite, values[low:high]), default=math.nan) for low, high in pairwise(edges)]
    scale = Scale.around([peak for peak in peaks if math.isfinite(peak)])
    top = len(glyphs.levels) - 1
    return "".join(
        glyphs.levels[round(scale.fraction(peak) * top)] if math.isfinite(peak) else glyphs.gap
        for peak in peaks
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values, linear or logarithmic, and where a value lies in it.

    Attributes:
        low, high: ends in the curve's unit; finite, `low < high`.
        log: equal steps are equal factors; both ends are positive.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float], *, log: bool = False) -> Scale:
        """The scale that just holds finite `values`; one that is constant lies in the middle."""
        if not values:
            return cls(1.0, 10.0, True) if log else cls()
        low, high = min(values), max(values)
        if low == high:
            margin = abs(low) * 0.05 or 1.0
            low, high = (low / 2, low * 2) if log else (low - margin, high + margin)
        return cls(low, high, log)

    def shows(self, value: float) -> bool:
        """Whether `value` has a place on this kind of scale."""
        return math.isfinite(value) and (value > 0 or not self.log)

    def fraction(self, value: float) -> float:
        """Where `value` lies, 0 at `low` and 1 at `high`; halved first, so that no difference overflows."""
        low, high, value = ((math.log(v) if self.log else v) / 2 for v in (self.low, self.high, value))
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5

    def value(self, fraction: float) -> float:
        """The value at `fraction`."""
        if self.log:
            return math.exp(math.log(self.low) * (1 - fraction) + math.log(self.high) * fraction)
        return self.low * (1 - fraction) + self.high * fraction


class Span(NamedTuple):
    """What one dot column shows of a curve: first, last and extreme values, and whether it broke before."""

    column: int
    first: float
    last: float
    low: float
    high: float
    broken: bool


def thinned(points: Sequence[Point], across: Scale, up: Scale, columns: int) -> tuple[list[Span], set[int]]:
    """Reduce a curve to one `Span` per dot column, without losing an extreme.

    Args:
        points: by ascending x; those whose x is not a number are left out.
        across: scale of x.
        up: scale of y.
        columns: dot columns there are.

    Returns:
        The spans from left to right, and the columns that hold values which cannot be shown.
    """
    spans: list[Span] = []
    gaps: set[int] = set()
    broken = True
    for x, y in points:
        if not math.isfinite(x):
            continue
        column = round(across.fraction(x) * (columns - 1))
        if not up.shows(y):
            gaps.add(column)
            broken = True
            continue
        if spans and spans[-1].column == column:
            last = spans[-1]
            spans[-1] = last._replace(last=y, low=min(last.low, y), high=max(last.high, y))
        else:
            spans.append(Span(column, y, y, y, y, broken))
        broken = False
    return spans, gaps


@dataclass(slots=True)
class Canvas:
    """Cells made of dots, each owned by the curve that drew there last.

    Attributes:
        glyphs: decides how many dots a cell has.
        columns, rows: cells.
    """

    glyphs: Glyphs
    columns: int
    rows: int
    _cells: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    @property
    def across(self) -> int:
        """Dots from left to right."""
        return self.columns * _DOTS[self.glyphs.name][0]

    @property
    def down(self) -> int:
        """Dots from top to bottom."""
        return self.rows * _DOTS[self.glyphs.name][1]

    def row_of(self, fraction: float) -> int:
        """The dot row of a height, 0 at the top."""
        return round((1 - fraction) * (self.down - 1))

    def cell_of(self, column: int, row: int) -> tuple[int, int]:
        """The cell that holds a dot."""
        wide, high = _DOTS[self.glyphs.name]
        return column // wide, row // high

    def draw(self, spans: Sequence[Span], up: Scale, curve: int) -> None:
        """Draw one curve: the extremes of each column, joined where it did not break."""
        before: Span | None = None
        for span in spans:
            self._upright(span.column, up.fraction(span.low), up.fraction(span.high), curve)
            if before is not None and not span.broken:
                self._join(before, span, up, curve)
            before = span

    def rendered(self, row: int) -> Iterator[tuple[str, int]]:
        """The cells of a row as `(character, curve)`; curve -1 where nothing was drawn."""
        for column in range(self.columns):
            bits, curve = self._cells.get((column, row), (0, -1))
            yield (self._character(bits, curve) if bits else " "), curve

    def _join(self, before: Span, span: Span, up: Scale, curve: int) -> None:
        start, end = up.fraction(before.last), up.fraction(span.first)
        steps, last = span.column - before.column, start
        for step in range(1, steps + 1):
            height = start + (end - start) * step / steps
            self._upright(before.column + step, last, height, curve)
            last = height

    def _upright(self, column: int, start: float, end: float, curve: int) -> None:
        low, high = sorted((self.row_of(start), self.row_of(end)))
        for row in range(low, high + 1):
            cell = self.cell_of(column, row)
            bits = self._cells.get(cell, (0, curve))[0]
            self._cells[cell] = (bits | self._bit(column, row), curve)

    def _bit(self, column: int, row: int) -> int:
        wide, high = _DOTS[self.glyphs.name]
        return _BRAILLE_BITS[column % wide][row % high] if wide == 2 else 1 << row % high

    def _character(self, bits: int, curve: int) -> str:
        wide, high = _DOTS[self.glyphs.name]
        if wide == 2:
            return chr(0x2800 + bits)
        return _HALVES[bits] if high == 2 else _PLAIN_DOTS[curve % len(_PLAIN_DOTS)]

"""Lanes of progress: a bar each, with what is done, how fast, and when it may end.

How to use it:

    bars = Bars()
    bars.show([Bar("eval/0", "shard 0", done=12, total=56, unit="samples", rate=0.4, eta=(95.0, 130.0))])

`show` takes the whole list each time and repaints the lanes that changed. A lane without a total shows
what is done and no percentage. In narrow places ETA, rate and amounts give way, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from textual.geometry import Size
from textual.strip import Strip

from pipeline.engine.state import StageState
from pipeline.engine.text import cell_width
from screens.widgets.lines import LineView, Piece
from screens.widgets.units import spoken_amount, spoken_duration, spoken_number

#: The least a bar takes, and the parts beside it: label, percentage, amounts, rate, ETA (cells).
LEAST_BAR = 8
LABEL, PERCENT, AMOUNT, RATE, ETA = 16, 5, 20, 14, 16


class Bar(NamedTuple):
    """One lane.

    Attributes:
        key: stable name.
        label: what it is.
        done, total: in `unit`; total None if unknown.
        unit: `B` shows in binary steps, anything else as a count.
        rate: units per second, None if unknown.
        eta: least and most seconds that are left, None if unknown.
        state: gives glyph, letter and colour.
    """

    key: str
    label: str
    done: float = 0
    total: float | None = None
    unit: str = ""
    rate: float | None = None
    eta: tuple[float, float] | None = None
    state: StageState = StageState.RUNNING

    @property
    def fraction(self) -> float | None:
        """Done of total, 0..1; None if the total is unknown."""
        if self.total is None:
            return None
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 1.0


class Bars(LineView, can_focus=False):
    """Lanes of progress; see the module.

    Args:
        bars: lanes to begin with.
        empty: what shows when there are none.
    """

    DEFAULT_CSS = "Bars { height: auto; }"

    def __init__(self, bars: Sequence[Bar] = (), *, empty: str = "nothing runs", **options: Any) -> None:
        super().__init__(**options)
        self._empty = empty
        self._bars: list[Bar] = []
        self.show(bars)

    def show(self, bars: Sequence[Bar]) -> None:
        """Show these lanes."""
        before, self._bars = self._bars, list(bars)
        if len(before) != len(self._bars):
            self.virtual_size = Size(0, max(1, len(self._bars)))
            self.refresh(layout=True)
            return
        for index, (old, new) in enumerate(zip(before, self._bars, strict=True)):
            if old != new:
                self.refresh_rows(index - self.scroll_offset.y)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """One row per lane."""
        return max(1, len(self._bars))

    def render_line(self, y: int) -> Strip:
        """One lane."""
        index, width = y + self.scroll_offset.y, self.line_width
        if not self._bars:
            return self.line([(self.glyphs.text(self._empty, width), "muted")] if y == 0 else [], width)
        if index >= len(self._bars):
            return self.line([], width)
        return self.line(self._lane(self._bars[index], width), width)

    def _lane(self, bar: Bar, width: int) -> list[Piece]:
        glyphs = self.glyphs
        mark = glyphs.state(bar.state)
        label = glyphs.text(bar.label, LABEL)
        pieces: list[Piece] = [
            (f"{mark.glyph}{mark.letter} ", mark.tone),
            (label + " " * (LABEL - cell_width(label)) + " ", "text"),
        ]
        facts = [(f"{_percent(bar):>{PERCENT}}", PERCENT)]
        facts += [(_amount(bar), AMOUNT), (_rate(bar), RATE), (_eta(bar), ETA)]
        room = width - 3 - LABEL - 1
        shown = [fact for fact in facts if fact]
        while shown and room - sum(cells + 1 for _, cells in shown) < LEAST_BAR:
            shown.pop()
        bar_cells = max(0, room - sum(cells + 1 for _, cells in shown))
        pieces += self._bar(bar, bar_cells, mark.tone)
        pieces += [(" " + glyphs.text(text, cells).rjust(cells), "muted") for text, cells in shown]
        return pieces

    def _bar(self, bar: Bar, cells: int, tone: str) -> list[Piece]:
        if bar.fraction is None:
            return [(self.glyphs.band * cells, "muted")]
        text = self.glyphs.bar(bar.fraction, cells)
        filled = len(text.rstrip(self.glyphs.empty))
        return [(text[:filled], tone), (text[filled:], "muted")]


def _percent(bar: Bar) -> str:
    """Whole percents, rounded down: 100 % means done."""
    return "-" if bar.fraction is None else f"{int(bar.fraction * 100)}%"


def _amount(bar: Bar) -> str:
    if bar.total is None:
        return spoken_amount(bar.done, bar.unit)
    if bar.unit in ("B", "bytes"):
        return f"{spoken_amount(bar.done, 'B')}/{spoken_amount(bar.total, 'B')}"
    return f"{spoken_number(bar.done)}/{spoken_number(bar.total)} {bar.unit}".rstrip()


def _rate(bar: Bar) -> str:
    return "" if bar.rate is None else f"{spoken_amount(bar.rate, bar.unit)}/s"


def _eta(bar: Bar) -> str:
    """`1m35s-2m10s`, or one time if both ends read the same."""
    if bar.eta is None or bar.fraction == 1.0:
        return ""
    low, high = (spoken_duration(seconds) for seconds in bar.eta)
    return low if low == high else f"{low}-{high}"

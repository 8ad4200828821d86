"""Thousands of chunks on one screen: every cell stands for one or more of them.

How to use it:

    chunks = ChunkMap()
    chunks.show(cells)                  # a code per chunk, `pipeline.transfer.view`
    chunks.cursor                       # first chunk under the cursor, and the one after the last

A cell shows the worst of its chunks: failed before waiting before fetched before done. States differ by glyph
and by colour. Only rows whose cells changed are repainted. Arrows move, space begins a range and ends it.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from pipeline.transfer.view import DONE, FAILED, FETCHED, KEPT, WAITING
from screens.widgets.lines import LineView, Piece


class Look(NamedTuple):
    """How a state is shown: a glyph, the same in ASCII, and a tone."""

    glyph: str
    plain: str
    tone: str
    name: str


LOOKS = {
    WAITING: Look("·", ".", "muted", "waiting"),
    FETCHED: Look("░", "-", "primary", "here"),
    DONE: Look("█", "#", "success", "sent and proved or on its way to be"),
    KEPT: Look("▓", "=", "success", "was there already"),
    FAILED: Look("✖", "!", "error bold", "failed"),
}
#: Of the chunks of a cell, the first of these decides.
_WORST = (FAILED, WAITING, FETCHED, DONE, KEPT)
_RANK = bytes(_WORST.index(code) if code in _WORST else 0 for code in range(256))


class ChunkMap(LineView):
    """See the module.

    Args:
        empty: what shows when there are no chunks.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("left,h", "move(-1)", "Left", show=False),
        Binding("right,l", "move(1)", "Right", show=False),
        Binding("up,k", "row(-1)", "Up", show=False),
        Binding("down,j", "row(1)", "Down", show=False),
        Binding("home,g", "edge(False)", "First", show=False),
        Binding("end,G", "edge(True)", "Last", show=False),
        Binding("space", "brush", "Begin or end a range", show=False),
    ]

    class Moved(Message):
        """The cursor came to other chunks."""

    def __init__(self, *, empty: str = "no chunk is known yet", **options: Any) -> None:
        super().__init__(**options)
        self._empty = empty
        self._chunks = b""
        self._cells = b""
        self._cursor = 0
        self._anchor: int | None = None
        self._columns = 0

    @property
    def per_cell(self) -> int:
        """Chunks that one cell stands for."""
        room = max(1, self._columns * max(1, self.size.height))
        return max(1, -(-len(self._chunks) // room))

    @property
    def cursor(self) -> tuple[int, int]:
        """First chunk under the cursor or of the brushed range, and the chunk after the last."""
        first = self._cursor if self._anchor is None else min(self._cursor, self._anchor)
        last = self._cursor if self._anchor is None else max(self._cursor, self._anchor)
        size = self.per_cell
        return first * size, min((last + 1) * size, len(self._chunks))

    def show(self, chunks: bytes | bytearray) -> None:
        """Show these chunks; rows that come out the same are not repainted."""
        self._chunks = bytes(chunks)
        self._recount()

    def on_resize(self) -> None:
        """Share the chunks among the cells anew."""
        self._recount()

    def action_move(self, step: int) -> None:
        """Left or right."""
        self._go(self._cursor + step)

    def action_row(self, step: int) -> None:
        """Up or down."""
        self._go(self._cursor + step * max(1, self._columns))

    def action_edge(self, last: bool) -> None:
        """To the first or last chunk."""
        self._go(len(self._cells) - 1 if last else 0)

    def action_brush(self) -> None:
        """Begin a range here, or forget it."""
        self._anchor = self._cursor if self._anchor is None else None
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        width = self.line_width
        if not self._cells:
            return self.line([(self.glyphs.text(self._empty, width), "muted")] if y == 0 else [], width)
        start = y * self._columns
        row = self._cells[start : start + self._columns]
        pieces: list[Piece] = []
        for (code, marked), cells in groupby(
            enumerate(row, start), key=lambda item: (item[1], self._is_marked(item[0]))
        ):
            look = LOOKS[_WORST[code]]
            glyph = look.plain if self.glyphs.name == "ascii" else look.glyph
            tone = f"{look.tone.split()[0]} reverse" if marked else look.tone
            pieces.append((glyph * len(list(cells)), tone))
        return self.line(pieces, width)

    def _is_marked(self, cell: int) -> bool:
        if self._anchor is None:
            return cell == self._cursor and self.has_focus
        return min(self._cursor, self._anchor) <= cell <= max(self._cursor, self._anchor)

    def _recount(self) -> None:
        self._columns = max(1, self.line_width)
        ranks = self._chunks.translate(_RANK)
        size = self.per_cell
        cells = bytes(min(ranks[at : at + size]) for at in range(0, len(ranks), size))
        before, self._cells = self._cells, cells
        self._cursor = max(0, min(self._cursor, len(cells) - 1))
        if len(before) != len(cells):
            self.virtual_size = Size(0, 0)
            self.refresh()
            return
        for row in range(-(-len(cells) // self._columns)):
            span = slice(row * self._columns, (row + 1) * self._columns)
            if before[span] != cells[span]:
                self.refresh_rows(row)

    def _go(self, cell: int) -> None:
        if not self._cells:
            return
        self._cursor = max(0, min(cell, len(self._cells) - 1))
        self.refresh()
        self.post_message(self.Moved())

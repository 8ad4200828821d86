"""A table of any length that repaints what changed.

How to use it:

    table = Table([Column("stage", "Stage", 14), Column("loss", "Loss", 8, right=True, priority=2)])
    table.set_rows([("run/train", ("train", 0.31)), ("run/eval", ("eval", None))])
    table.update_cell("run/train", "loss", 0.29)      # repaints one row, if it is visible
    table.sort("loss", reverse=True)
    table.filter(lambda row_id, values: "train" in row_id)
    table.cursor_id, table.marked, table.targets      # targets: marked rows, else the cursor's

Rows are `(row id, values)`; ids are stable, so cursor and marks stay with their row whatever moves. Values
are raw (numbers sort as numbers, None last); `Column.show` formats them when a row becomes visible.
Messages (with `table`, `row_id`): `Table.Highlighted`, `Table.Selected` (enter or click), `Table.Marked`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from pipeline.engine.text import cell_width
from screens.widgets.columns import SPACE, Column, layout
from screens.widgets.lines import LineView, Piece

Values = Sequence[Any]
Filter = Callable[[str, Values], bool]

#: Cells for cursor and mark before the first column.
GUTTER = 2
#: Rendered rows kept; a page or two of the largest terminals.
CACHED_ROWS = 1024


class Table(LineView):
    """Rows under a heading; see the module.

    Args:
        columns: all columns, the most important first.
        empty: what shows when there are no rows.
        rows: rows to begin with.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(False)", "First", show=False),
        Binding("end,G", "edge(True)", "Last", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("ctrl+space", "mark_range", "Mark to here", show=False),
        Binding("enter", "select", "Open", show=False),
    ]

    class RowMessage(Message):
        """Something happened to a row."""

        def __init__(self, table: Table, row_id: str) -> None:
            self.table, self.row_id = table, row_id
            super().__init__()

        @property
        def control(self) -> Table:
            """The table, for `@on` selectors."""
            return self.table

    class Highlighted(RowMessage):
        """The cursor came to a row."""

    class Selected(RowMessage):
        """Enter or a click on the row under the cursor."""

    class Marked(RowMessage):
        """A mark was set or taken off."""

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Iterable[tuple[str, Values]] = (),
        *,
        empty: str = "nothing here",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._columns = tuple(columns)
        self._index = {column.key: i for i, column in enumerate(self._columns)}
        self._empty = empty
        self._rows: dict[str, list[Any]] = {}
        self._order: list[str] = []
        self._place: dict[str, int] = {}
        self._cursor = 0
        self._anchor: str | None = None
        self._filter: Filter | None = None
        self._sort: tuple[int, bool] | None = None
        self._sort_later = False
        self._strips: dict[str, Strip] = {}
        self._layout: tuple[int, list[tuple[int, int]]] = (-1, [])
        self.marked: set[str] = set()
        if rows:
            self.set_rows(rows)

    # ---- rows -------------------------------------------------------------------------------------

    def set_rows(self, rows: Iterable[tuple[str, Values]]) -> None:
        """Replace all rows; cursor and marks stay with rows that are still there.

        Where ids and their order are the same as before, only rows whose values differ are repainted.
        """
        fresh = {row_id: list(values) for row_id, values in rows}
        if fresh and list(fresh) == list(self._rows):
            for row_id, values in fresh.items():
                self.update_row(row_id, values)
            return
        self._rows = fresh
        self.marked &= self._rows.keys()
        self._arrange()

    def add_rows(self, rows: Iterable[tuple[str, Values]]) -> None:
        """Append rows, or replace those whose ids are known."""
        self._rows.update((row_id, list(values)) for row_id, values in rows)
        self._arrange()

    def remove_rows(self, row_ids: Iterable[str]) -> None:
        """Take rows away; unknown ids are ignored."""
        for row_id in row_ids:
            self._rows.pop(row_id, None)
        self.marked &= self._rows.keys()
        self._arrange()

    def update_row(self, row_id: str, values: Values) -> None:
        """Replace the values of one row, or add it."""
        row = self._rows.get(row_id)
        if row is None:
            self.add_rows([(row_id, values)])
        elif row != list(values):
            moved = self._sort is not None and row[self._sort[0]] != values[self._sort[0]]
            row[:] = values
            self._changed(row_id, moved)

    def update_cell(self, row_id: str, key: str, value: Any) -> None:
        """Replace one value.

        Raises:
            KeyError: there is no such row or column.
        """
        row, index = self._rows[row_id], self._index[key]
        if row[index] != value:
            row[index] = value
            self._changed(row_id, self._sort is not None and self._sort[0] == index)

    def values(self, row_id: str) -> tuple[Any, ...]:
        """The values of a row; KeyError if there is none."""
        return tuple(self._rows[row_id])

    @property
    def row_ids(self) -> Sequence[str]:
        """Ids of the rows that pass the filter, in the order shown."""
        return self._order

    @property
    def total(self) -> int:
        """How many rows there are, filtered or not."""
        return len(self._rows)

    # ---- order ------------------------------------------------------------------------------------

    def sort(self, key: str | None, *, reverse: bool | None = None) -> None:
        """Sort by a column; None for the order of arrival.

        Args:
            key: the column.
            reverse: descending; None to turn the direction round if it is sorted by this column already.
        """
        if key is None:
            self._sort = None
        else:
            index = self._index[key]
            again = self._sort is not None and self._sort[0] == index
            turned = again and not (self._sort or (0, True))[1]
            self._sort = (index, turned if reverse is None else reverse)
        self._arrange()

    @property
    def sorted_by(self) -> tuple[str, bool] | None:
        """Key of the column and whether descending; None for the order of arrival."""
        return None if self._sort is None else (self._columns[self._sort[0]].key, self._sort[1])

    def filter(self, keep: Filter | None) -> None:
        """Show only rows for which `keep(row_id, values)` is true; None for all."""
        self._filter = keep
        self._arrange()

    # ---- cursor and marks -------------------------------------------------------------------------

    @property
    def cursor_id(self) -> str | None:
        """The row under the cursor; None in an empty table."""
        return self._order[self._cursor] if self._order else None

    @property
    def targets(self) -> list[str]:
        """What an action is about: the marked rows in the order shown, else the one under the cursor."""
        if self.marked:
            return [row_id for row_id in self._order if row_id in self.marked]
        return [] if self.cursor_id is None else [self.cursor_id]

    def move_to(self, row_id: str) -> bool:
        """Put the cursor on a row; return whether it is shown."""
        if row_id not in self._place:
            return False
        self._go(self._place[row_id])
        return True

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self._go(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by what fits on the screen."""
        self._go(self._cursor + pages * max(1, self.size.height - 2))

    def action_edge(self, last: bool) -> None:
        """Go to the first or the last row."""
        self._go(len(self._order) - 1 if last else 0)

    def action_mark(self) -> None:
        """Mark the row, or take its mark off, and go on to the next."""
        row_id = self.cursor_id
        if row_id is not None:
            self.marked ^= {row_id}
            self._anchor = row_id
            self._marks_changed([row_id])
            self._go(self._cursor + 1)

    def action_mark_range(self) -> None:
        """Mark everything from the last mark to the cursor."""
        start = self._place.get(self._anchor or "", self._cursor)
        low, high = sorted((start, self._cursor))
        if self._order:
            self.marked |= set(self._order[low : high + 1])
            self._marks_changed(self._order[low : high + 1])

    def clear_marks(self) -> None:
        """Take all marks off."""
        marked, self.marked = list(self.marked), set()
        self._marks_changed(marked)

    def action_select(self) -> None:
        """Open the row under the cursor."""
        if self.cursor_id is not None:
            self.post_message(self.Selected(self, self.cursor_id))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; on the row it is on already: open it."""
        index = event.y - 1 + self.scroll_offset.y
        if event.y and index < len(self._order):
            if index == self._cursor:
                self.action_select()
            self._go(index)

    # ---- drawing ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the visible area: the heading, a row, or nothing."""
        width = self.line_width
        self._fit(width)
        if y == 0:
            return self._heading(width)
        if not self._order:
            return self.line([(self.glyphs.text(self._empty, width), "muted")] if y == 1 else [], width)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._order):
            return self.line([], width)
        row_id = self._order[index]
        at_cursor = index == self._cursor
        strip = None if at_cursor else self._strips.get(row_id)
        if strip is None:
            strip = self._row(row_id, width, at_cursor)
            if not at_cursor:
                self._keep(row_id, strip)
        return strip

    def styles_changed(self) -> None:
        """Render again."""
        self._strips.clear()

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._strips.clear()
        self._follow_cursor()

    def on_focus(self) -> None:
        """Show the cursor strongly."""
        self._shared.clear()
        self._refresh_index(self._cursor)

    def on_blur(self) -> None:
        """Show the cursor faintly."""
        self.on_focus()

    def _fit(self, width: int) -> None:
        if self._layout[0] != width:
            self._layout = (width, layout(self._columns, width - GUTTER))
            self._strips.clear()

    def _heading(self, width: int) -> Strip:
        pieces: list[Piece] = [(" " * GUTTER, "muted")]
        glyphs = self.glyphs
        for place, (index, cells) in enumerate(self._layout[1]):
            column, title = self._columns[index], self._columns[index].title
            if self._sort is not None and self._sort[0] == index:
                title += glyphs.descending if self._sort[1] else glyphs.ascending
            pieces.append((_pad(glyphs.text(title, cells), cells, column.right, place), "muted bold"))
        return self.line(pieces, width)

    def _row(self, row_id: str, width: int, at_cursor: bool) -> Strip:
        glyphs, values = self.glyphs, self._rows[row_id]
        gutter = (glyphs.cursor if at_cursor else " ") + (glyphs.marked if row_id in self.marked else " ")
        pieces: list[Piece] = [(gutter, "accent bold")]
        for place, (index, cells) in enumerate(self._layout[1]):
            column = self._columns[index]
            shown = column.show(values[index], glyphs)
            text, tone = (shown, "text") if isinstance(shown, str) else shown
            pieces.append((_pad(glyphs.text(text, cells), cells, column.right, place), tone))
        return self.line(pieces, width, cursor=at_cursor)

    def _keep(self, row_id: str, strip: Strip) -> None:
        if len(self._strips) >= CACHED_ROWS:
            self._strips.clear()
        self._strips[row_id] = strip

    # ---- changes ----------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Filter and sort anew; keep the cursor on its row, or where it was."""
        kept, keep = self.cursor_id, self._filter
        order = [i for i, v in self._rows.items() if keep(i, v)] if keep is not None else list(self._rows)
        if self._sort is not None:
            order = self._sorted(order, *self._sort)
        self._order = order
        self._place = {row_id: index for index, row_id in enumerate(order)}
        self._sort_later = False
        self._strips.clear()
        self._cursor = self._place.get(kept or "", min(self._cursor, max(0, len(order) - 1)))
        self.virtual_size = Size(0, len(order) + 1)
        if self.is_mounted:
            self._follow_cursor()
            self.refresh()
            if self.cursor_id != kept:
                self._tell_cursor()

    def _sorted(self, order: list[str], index: int, reverse: bool) -> list[str]:
        """Sorted ids; values that are missing or cannot be compared come last in both directions."""
        rows = self._rows
        present = [i for i in order if rows[i][index] is not None and rows[i][index] == rows[i][index]]
        absent = [i for i in order if rows[i][index] is None or rows[i][index] != rows[i][index]]
        try:
            present.sort(key=lambda i: rows[i][index], reverse=reverse)
        except TypeError:
            present.sort(key=lambda i: str(rows[i][index]), reverse=reverse)
        return present + absent

    def _changed(self, row_id: str, moved: bool) -> None:
        self._strips.pop(row_id, None)
        index = self._place.get(row_id)
        if index is not None:
            self._refresh_index(index)
        if (moved or self._filter is not None) and not self._sort_later and self.is_mounted:
            self._sort_later = True
            self.set_timer(0.25 + len(self._rows) / 100_000, self._arrange_late)

    def _arrange_late(self) -> None:
        if self._sort_later:
            self._arrange()

    def _marks_changed(self, row_ids: Iterable[str]) -> None:
        for row_id in row_ids:
            self._strips.pop(row_id, None)
            if row_id in self._place:
                self._refresh_index(self._place[row_id])
            self.post_message(self.Marked(self, row_id))

    def _go(self, index: int) -> None:
        index = min(max(index, 0), len(self._order) - 1)
        if index < 0 or index == self._cursor:
            return
        old, self._cursor = self._cursor, index
        self._refresh_index(old)
        self._refresh_index(index)
        self._follow_cursor()
        self._tell_cursor()

    def _tell_cursor(self) -> None:
        if self.cursor_id is not None:
            self.post_message(self.Highlighted(self, self.cursor_id))

    def _follow_cursor(self) -> None:
        page, top = self.size.height - 1, self.scroll_offset.y
        if page <= 0:
            return
        target = min(top, self._cursor) if self._cursor < top + page else self._cursor - page + 1
        if target != top:
            self.scroll_to(y=target, animate=False, immediate=True, force=True)

    def _refresh_index(self, index: int) -> None:
        row = index - self.scroll_offset.y + 1
        if row >= 1:
            self.refresh_rows(row)


def _pad(text: str, cells: int, right: bool, place: int) -> str:
    """`text` in its column, with the space before it."""
    fill = " " * (cells - cell_width(text))
    return (" " * SPACE if place else "") + (fill + text if right else text + fill)

"""Columns of a table and how they share a width. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from screens.terminal.glyphs import Glyphs

#: What a cell shows: text, or text and the name of its tone. Texts may be foreign; the table makes them safe.
Shown = str | tuple[str, str]

#: Cells between two columns.
SPACE = 2


def plain(value: Any, _glyphs: Glyphs) -> Shown:
    """Show a value as `str` does, None as a dash."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: name for `Table.update_cell` and `Table.sort`.
        title: heading.
        width: cells; the least it takes if `grows`.
        right: align to the right (numbers).
        grows: takes a share of the room that is left.
        priority: 0 always shows; higher ones are dropped first where room is short.
        show: turns a value into what the cell shows; called for visible rows only.
    """

    key: str
    title: str
    width: int = 8
    right: bool = False
    grows: bool = False
    priority: int = 0
    show: Callable[[Any, Glyphs], Shown] = plain


def layout(columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """Share `width` cells among columns.

    Returns:
        `(index of the column, its cells)` for those that show, in their order. The highest priorities are
        dropped first, of equal ones the rightmost; the first column always stays, cut if it must be.
    """
    kept = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[i].width for i in kept) + SPACE * (len(kept) - 1)

    while len(kept) > 1 and needed() > width:
        droppable = [i for i in kept[1:] if columns[i].priority] or kept[1:]
        kept.remove(max(droppable, key=lambda i: (columns[i].priority, i)))
    if not kept:
        return []
    spare = width - needed()
    growing = [i for i in kept if columns[i].grows] if spare > 0 else []
    share, rest = divmod(spare, len(growing)) if growing else (0, 0)
    cells = {i: columns[i].width for i in kept}
    for place, index in enumerate(growing):
        cells[index] += share + (place < rest)
    if spare < 0:
        cells[kept[0]] = max(1, cells[kept[0]] + spare)
    return [(i, cells[i]) for i in kept]

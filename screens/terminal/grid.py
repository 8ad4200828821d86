"""Intended cells against sent cells: what has to be written so that a terminal shows what it should.

Pure: no terminal, no Textual. `put` says what a row should hold; `frame` returns the characters that turn
what was sent into what is intended, and assumes they are written. Whatever changed in between two calls
of `frame` is skipped: only the newest state costs bytes.

A cell is `(text, sgr)`: a character with its combining marks and the parameters of `CSI ... m`. The right
half of a wide character is a cell with empty text.
"""

from __future__ import annotations

from collections.abc import Iterator

Cell = tuple[str, str]
Row = list[Cell | None]

#: Unchanged cells that are rewritten rather than jumped over: a cursor movement costs as much.
GAP = 4
#: Cells compared at once while nothing differs.
_STRIDE = 16


class Grid:
    """The cells of one terminal.

    Args:
        width: cells per row.
        height: rows.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._want: list[Row] = [[None] * width for _ in range(height)]
        self._sent: list[Row] = [[None] * width for _ in range(height)]
        self._dirty: dict[int, int] = {}
        self._changes = 0
        self._newest_first = False
        self._sgr: str | None = None
        self._at: tuple[int, int] | None = None

    @property
    def pending(self) -> bool:
        """Whether some row may differ from what was sent."""
        return bool(self._dirty)

    def put(self, x: int, y: int, cells: list[Cell]) -> None:
        """Intend `cells` from column `x` >= 0 of row `y` on; what does not fit is ignored."""
        if not 0 <= y < self.height or not cells or x >= self.width:
            return
        row = self._want[y]
        end = min(x + len(cells), self.width)
        cut = cells[: end - x]
        if row[x:end] == cut:
            return
        _open_gap(row, x, end)
        row[x:end] = cut
        if end - x < len(cells) and not cells[end - x][0]:
            row[end - 1] = (" ", cut[-1][1])
        self._changes += 1
        self._dirty[y] = self._changes

    def forget(self) -> None:
        """Trust nothing on the screen: write every intended cell again."""
        self._sent = [[None] * self.width for _ in range(self.height)]
        self._dirty = dict.fromkeys(range(self.height), self._changes)
        self._sgr = self._at = None

    def moved(self) -> None:
        """Note that somebody else moved the cursor."""
        self._at = None

    def frame(self, budget: int | None = None) -> str:
        """Return what to write now, and count it as sent.

        Args:
            budget: about how many characters; rows left over stay pending. None for all.
        """
        out: list[str] = []
        used = 0
        for y in self._order(fair=budget is not None):
            start = len(out)
            self._write_row(y, out)
            self._sent[y] = self._want[y].copy()
            del self._dirty[y]
            used += sum(map(len, out[start:]))
            if budget is not None and used >= budget:
                break
        return "".join(out)

    def _order(self, *, fair: bool) -> list[int]:
        """Rows to write: top to bottom, or the newest and the oldest in turn if not all may fit.

        The turn goes on from frame to frame, so that no row waits for ever behind busier ones.
        """
        if not fair:
            return sorted(self._dirty)
        self._newest_first = not self._newest_first
        rows = sorted(self._dirty, key=self._dirty.__getitem__, reverse=self._newest_first)
        pairs = zip(rows, reversed(rows), strict=True)
        return list(dict.fromkeys(y for pair in pairs for y in pair))

    def _write_row(self, y: int, out: list[str]) -> None:
        want = self._want[y]
        for start, end in _runs(want, self._sent[y]):
            out.append(self._move(start, y))
            for index in range(start, end):
                text, sgr = want[index] or (" ", "")
                if sgr != self._sgr:
                    out.append(_transition(self._sgr, sgr))
                    self._sgr = sgr
                out.append(text)
                if _doubtful(text) and index + 1 < end:
                    out.append(f"\x1b[{_after(want, index) + 1}G")
            certain = end < self.width and not any(_wide_or_doubtful(cell) for cell in want[start:end])
            self._at = (end, y) if certain else None

    def _move(self, x: int, y: int) -> str:
        """The shortest way there; relative only where terminals cannot disagree about widths."""
        if self._at is not None and self._at[1] == y and self._at[0] <= x:
            ahead = x - self._at[0]
            return f"\x1b[{ahead}C" if ahead > 1 else "\x1b[C" if ahead else ""
        return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H" if y else "\x1b[H"


def _transition(old: str | None, new: str) -> str:
    """The sequence between two styles: nothing has to be reset after the plain one."""
    if not new:
        return "\x1b[m"
    return f"\x1b[{new}m" if old == "" else f"\x1b[0;{new}m"


def _doubtful(text: str) -> bool:
    """Whether terminals disagree about the width: combined characters and emoji."""
    return len(text) > 1 or text >= "\U0001f000"


def _wide_or_doubtful(cell: Cell | None) -> bool:
    """Whether a relative movement after this cell could go wrong somewhere."""
    if cell is None or len(cell[0]) != 1:
        return True
    char = cell[0]
    return not (char < "\u1100" or "\u2500" <= char <= "\u259f" or "\u2800" <= char <= "\u28ff")


def _after(row: Row, index: int) -> int:
    """The column after the character at `index`."""
    index += 1
    while index < len(row) and (cell := row[index]) is not None and not cell[0]:
        index += 1
    return index


def _open_gap(row: Row, start: int, end: int) -> None:
    """Blank the halves of wide characters that would remain beside an overwritten `[start, end)`."""
    first, left = row[start], row[start - 1] if start else None
    if first is not None and not first[0] and left is not None:
        row[start - 1] = (" ", left[1])
    after = row[end] if end < len(row) else None
    if after is not None and not after[0]:
        row[end] = (" ", after[1])


def _runs(want: Row, sent: Row) -> Iterator[tuple[int, int]]:
    """Yield `[start, end)` of what to write: short gaps closed, wide characters whole."""
    width, index = len(want), 0
    while index < width:
        if want[index : index + _STRIDE] == sent[index : index + _STRIDE]:
            index += _STRIDE
            continue
        if want[index] is None or want[index] == sent[index]:
            index += 1
            continue
        start, end = index, index + 1
        while start and (cell := want[start]) is not None and not cell[0]:
            start -= 1
        probe = end
        while probe < width and probe - end < GAP and want[probe] is not None:
            probe += 1
            if want[probe - 1] != sent[probe - 1]:
                end = probe
        end = _after(want, end - 1)
        yield start, end
        index = end

"""A few lines of coloured text that repaint only when they differ from before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.geometry import Size
from textual.strip import Strip

from pipeline.engine.text import cell_width, clip
from screens.widgets.lines import LineView, Piece

Line = Sequence[Piece]


class Pane(LineView, can_focus=False):
    """Lines of `(text, tone)` pieces; texts may be foreign, they are made safe when drawn.

    Args:
        fold: break long lines instead of cutting them.
    """

    DEFAULT_CSS = "Pane { height: auto; }"

    def __init__(self, *, fold: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._fold = fold
        self._lines: list[list[Piece]] = []
        self._drawn: tuple[int, list[list[Piece]]] = (-1, [])

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines in place of those before."""
        new = [list(line) for line in lines]
        if new == self._lines:
            return
        same = len(new) == len(self._lines) and not self._fold
        self._lines = new
        self._drawn = (-1, [])
        self.virtual_size = Size(0, len(self._folded(self.size.width or 80)))
        self.refresh(layout=not same)

    @property
    def text(self) -> str:
        """What is shown, without tones."""
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """One row per line, more where lines are folded."""
        return len(self._folded(width))

    def on_resize(self) -> None:
        """Fold anew."""
        self.virtual_size = Size(0, len(self._folded(self.size.width)))

    def render_line(self, y: int) -> Strip:
        """One line of the visible area."""
        width = self.size.width
        lines = self._folded(width)
        index = y + self.scroll_offset.y
        return self.line(lines[index] if index < len(lines) else [], width)

    def _folded(self, width: int) -> list[list[Piece]]:
        if self._drawn[0] != width:
            safe = [[(self.glyphs.text(text), tone) for text, tone in line] for line in self._lines]
            cut = _broken if self._fold else _cut
            self._drawn = (width, [part for line in safe for part in cut(line, width, self.glyphs.ellipsis)])
        return self._drawn[1]


def _cut(line: list[Piece], width: int, ellipsis: str) -> list[list[Piece]]:
    """The line, with an ellipsis where it is too long."""
    kept: list[Piece] = []
    room = width
    for text, tone in line:
        shown = clip(text, room, ellipsis)
        kept.append((shown, tone))
        room -= cell_width(shown)
        if shown != text or room <= 0:
            break
    return [kept]


def _broken(line: list[Piece], width: int, _ellipsis: str) -> list[list[Piece]]:
    """The line in parts of at most `width` cells, broken at spaces where that is possible."""
    parts: list[list[Piece]] = [[]]
    room = width
    for text, tone in line:
        for word in _words(text, max(2, width - 2)):
            shown = word
            if cell_width(word) > room and parts[-1]:
                parts.append([("  ", tone)])
                room = width - 2
                shown = word.lstrip()
            parts[-1].append((shown, tone))
            room -= cell_width(shown)
    return parts


def _words(text: str, longest: int) -> list[str]:
    """Words with the space before them; a longer one in pieces (of at most two cells per character)."""
    words: list[str] = []
    for index, word in enumerate(text.split(" ")):
        rest = f" {word}" if index else word
        while cell_width(rest) > longest:
            words.append(rest[: longest // 2])
            rest = rest[longest // 2 :]
        words.append(rest)
    return words

"""A console with one widget on it, for tests without a terminal."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from screens.base import ConsoleApp
from screens.terminal.display import Capabilities, Colour, Display
from screens.terminal.glyphs import BRAILLE, Glyphs


class Stage(ConsoleApp):
    """Shows `widgets`, the first of them focused."""

    CSS = "Table, JournalLog, Chart { height: 1fr; }"

    def __init__(self, *widgets: Widget, glyphs: Glyphs = BRAILLE, theme: str = "dark") -> None:
        colour = Colour.MONO if theme == "mono" else Colour.TRUE
        super().__init__(Capabilities(Display.FULL, colour, glyphs), theme=theme)
        self.widgets = widgets

    def compose(self) -> ComposeResult:
        yield from self.widgets


def lines(widget: Widget) -> list[str]:
    """What the widget shows, row by row, without trailing blanks."""
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]

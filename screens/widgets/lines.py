"""What all live widgets share: one line at a time, shared styles, only changed rows repainted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pipeline.engine.text import cell_width
from screens.terminal.glyphs import BRAILLE, Glyphs

#: A piece of a line: safe text and the name of its tone (`screens.terminal.themes.TONES`); a tone may be
#: followed by attributes: `"error bold"`.
Piece = tuple[str, str]


class LineView(ScrollView, can_focus=True):
    """A scrollable view drawn line by line.

    Subclasses render with `self.line(pieces)` and call `refresh_rows` for the rows that changed. Styles are
    made once per theme and shared, so that equal cells compare equal by identity.
    """

    DEFAULT_CSS = """
    LineView {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        background: $background;
        color: $tone-text;
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = set()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._shared: dict[tuple[str, bool], Style] = {}

    @property
    def glyphs(self) -> Glyphs:
        """The characters this terminal can show."""
        return getattr(self.app, "glyphs", BRAILLE)

    @property
    def line_width(self) -> int:
        """Cells of a line: the widget's width without border and scroll bar."""
        return self.scrollable_content_region.width

    def notify_style_update(self) -> None:
        """Forget styles of the last theme."""
        super().notify_style_update()
        self._shared.clear()
        self.styles_changed()

    def styles_changed(self) -> None:
        """Drop whatever was rendered with the last theme's styles; for subclasses that cache."""

    def tone(self, name: str, *, cursor: bool = False) -> Style:
        """Return the shared style of a tone, on the cursor's ground if `cursor`."""
        found = self._shared.get((name, cursor))
        if found is None:
            found = self._shared[name, cursor] = self._make_style(name, cursor)
        return found

    def line(self, pieces: Iterable[Piece], width: int, *, cursor: bool = False) -> Strip:
        """Return one line of exactly `width` cells from safe pieces."""
        segments = [Segment(text, self.tone(tone, cursor=cursor)) for text, tone in pieces if text]
        strip = Strip(segments, sum(cell_width(segment.text) for segment in segments))
        return strip.adjust_cell_length(width, self.tone("text", cursor=cursor))

    def refresh_rows(self, first: int, count: int = 1) -> None:
        """Repaint `count` rows of the visible area, `first` counted from its top."""
        height = self.size.height
        top, bottom = max(first, 0), min(first + count, height)
        if top < bottom:
            self.refresh(Region(0, top, self.line_width, bottom - top))

    def _make_style(self, name: str, cursor: bool) -> Style:
        tone, _, attributes = name.partition(" ")
        variables = self.app.theme_variables
        base = self.rich_style
        if cursor and self.has_focus:
            ground = Style(
                color=_rich(variables["cursor-foreground"]), bgcolor=_rich(variables["cursor-background"])
            )
            plain = tone in ("text", "muted") or variables["cursor-foreground"].startswith("ansi")
            colour = ground if plain else ground + Style(color=_rich(variables[f"tone-{tone}"]))
            return Style(color=base.color, bgcolor=base.bgcolor) + colour + Style.parse(attributes)
        style = Style(color=_rich(variables[f"tone-{tone}"]), bgcolor=base.bgcolor)
        return style + Style.parse(f"{attributes} bold" if cursor else attributes)


def _rich(colour: str) -> Any:
    return Color.parse(colour).rich_color

"""What every screen of the console has: a header, a footer with its keys, a filter line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from screens.actions import footer
from screens.feed import Picture
from screens.pane import Line, Pane
from screens.widgets.lines import Piece

if TYPE_CHECKING:
    from screens.app import Console


class FilterLine(Input):
    """The line that `/` opens; escape empties it, enter keeps it."""

    DEFAULT_CSS = """
    FilterLine, FilterLine:focus {
        height: 1; border: none; padding: 0; display: none; background: $background; color: $tone-text;
    }
    FilterLine.open { display: block; }
    """

    BINDINGS: ClassVar[list[Any]] = [Binding("escape", "drop", "Show everything", show=False)]

    def action_drop(self) -> None:
        """Show everything again."""
        self.value = ""
        self.post_message(Input.Submitted(self, ""))


class Frame(Screen[None]):
    """A screen with header, footer and filter line.

    Attributes:
        called: its name in the table of actions.
    """

    called = ""

    @property
    def console(self) -> Console:
        """The app."""
        return cast("Console", self.app)

    def compose(self) -> ComposeResult:
        """Header, the screen's own, filter line, footer."""
        yield Pane(id="header")
        yield from self.body()
        yield FilterLine(placeholder="filter: enter keeps it, escape drops it", id="filter")
        yield Pane(id="footer")

    def body(self) -> ComposeResult:
        """The screen's own widgets."""
        raise NotImplementedError

    def main(self) -> Widget:
        """The widget that has the cursor."""
        raise NotImplementedError

    def show(self, picture: Picture) -> None:
        """Draw what changed."""
        raise NotImplementedError

    def narrow(self, word: str) -> None:
        """Show only what contains `word`; everything for an empty one."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Draw the newest picture."""
        self.main().focus()
        self.redraw()

    def on_screen_resume(self) -> None:
        """Draw what changed meanwhile."""
        if self.is_mounted:
            self.redraw()

    def redraw(self) -> None:
        """Draw header, footer and picture."""
        picture = self.console.shown
        self.query_one("#header", Pane).show([header_line(picture, self.console)])
        self.query_one("#footer", Pane).show([self._footer_line()])
        self.show(picture)

    def open_filter(self) -> None:
        """Let the operator type."""
        line = self.query_one("#filter", FilterLine)
        line.add_class("open")
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        self.narrow(event.value.strip().lower())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go back to the rows."""
        self.query_one("#filter", FilterLine).set_class(bool(event.value), "open")
        self.main().focus()

    def _footer_line(self) -> Line:
        notice = self.console.notice
        if notice:
            return [notice]
        pieces: list[Piece] = []
        for key, label in footer(self.called, read_only=self.console.read_only):
            pieces += [(key, "accent bold"), (f" {label}  ", "muted")]
        return pieces


def header_line(picture: Picture, console: Console) -> Line:
    """Run, kind, host and what needs a human, always."""
    snapshot = picture.snapshot
    pieces: list[Piece] = []
    needs = len(snapshot.needs_human) if snapshot else 0
    if needs:
        pieces.append((f"{needs} need{'s' * (needs == 1)} a human (n)  ", "error bold"))
    if console.read_only:
        pieces.append(("read-only  ", "warning"))
    if console.paused:
        pieces.append(("display paused (z)  ", "warning bold"))
    if snapshot is None:
        return [("xops  ", "text bold"), *pieces, (str(console.feed.root), "muted")]
    kind = "foreign logs" if snapshot.foreign else f"{snapshot.recipe} {snapshot.kind}"
    told = [(snapshot.run_id + "  ", "text bold"), *pieces, (f"{kind}  on {snapshot.host}", "muted")]
    return [*told, (f"  conductor {snapshot.conductor}", "primary")] if snapshot.conductor else told

"""The command palette: type part of a name, enter does it. Opened by `:` and ctrl+p."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from screens.actions import ACTIONS
from screens.dialogs import Dialog
from screens.terminal.themes import THEMES
from screens.widgets.columns import Column
from screens.widgets.table import Table

Command = tuple[str, str, str]


def commands(run_ids: Sequence[str]) -> list[Command]:
    """`(name, key, summary)` of everything that can be typed."""
    found = [(a.name, a.key, a.summary) for a in ACTIONS if a.name != "commands"]
    found += [(f"theme {name}", "", "Colours") for name in THEMES]
    return [*found, *((f"open {run_id}", "", "Show this run") for run_id in run_ids)]


class CommandDialog(Dialog[str]):
    """Answers with the name of a command."""

    DEFAULT_CSS = "CommandDialog Table { height: 12; }"
    BINDINGS: ClassVar[list[Any]] = [
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, known: Sequence[Command]) -> None:
        super().__init__()
        self._known = tuple(known)

    def compose(self) -> ComposeResult:
        """A line to type and what matches."""
        columns = (Column("name", "Command", 24), Column("key", "Key", 6), Column("what", "", 30, grows=True))
        with Vertical():
            yield Input(placeholder="what to do", id="typed")
            yield Table(columns, [(c[0], c) for c in self._known], id="found", empty="no command matches")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one("#typed").focus()

    def action_move(self, step: int) -> None:
        """Move among what matches while typing."""
        self.query_one("#found", Table).action_move(step)

    def on_input_changed(self, event: Input.Changed) -> None:
        """All typed words must occur."""
        words = event.value.lower().split()
        table = self.query_one("#found", Table)
        table.filter(lambda _, values: all(word in " ".join(values).lower() for word in words))
        exact = event.value.strip()
        if exact:
            table.move_to(exact)

    def on_input_submitted(self) -> None:
        """Do the one under the cursor."""
        chosen = self.query_one("#found", Table).cursor_id
        self.dismiss(chosen)

    @on(Table.Selected)
    def _selected(self, event: Table.Selected) -> None:
        self.dismiss(event.row_id)

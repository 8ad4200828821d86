"""Dialogs: confirming a deed, choosing what Ctrl-C means, reading something. Cancel is always the default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input

from pipeline.engine.acts import Act
from pipeline.engine.errors import XopsError
from pipeline.engine.plan import Step
from screens.actions import command_line
from screens.deeds import Deed
from screens.pane import Line, Pane

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """A box in the middle; escape closes it without doing anything."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background; }
    Dialog > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: ascii $tone-accent; padding: 0 1; background: $background;
    }
    Dialog VerticalScroll { height: auto; max-height: 70vh; background: $background; }
    Dialog Horizontal { height: 1; margin-top: 1; }
    Dialog Input, Dialog Input:focus {
        height: 1; border: none; padding: 0; background: $surface; color: $tone-text;
    }
    Dialog Button {
        min-width: 10; width: auto; height: 1; border: none; margin-right: 2; padding: 0 1;
        background: $background; color: $tone-text; text-style: none;
    }
    Dialog Button:focus { text-style: bold reverse; }
    Dialog Button:disabled { text-style: strike; opacity: 1; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape", "close", "Cancel"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
        Binding("ctrl+c", "close", show=False, priority=True),
    ]

    def action_close(self) -> None:
        """Close without doing anything."""
        self.dismiss(None)


class ActDialog(Dialog[Act]):
    """Shows what a deed would do, and does it when the operator says so.

    The preview and the deed run in worker threads; the result is what the engine answered.
    """

    BINDINGS: ClassVar[list[Any]] = [Binding("y", "copy", "Copy command", show=False)]

    def __init__(self, deed: Deed) -> None:
        super().__init__()
        self._deed = deed
        self._possible = False
        self._busy = False

    def compose(self) -> ComposeResult:
        """Question, facts, command, text to type, buttons."""
        with Vertical():
            yield Pane(id="title")
            with VerticalScroll(can_focus=False):
                yield Pane(id="facts", fold=True)
                yield Pane(id="answer", fold=True)
            if self._deed.asks:
                yield Pane(id="asks")
                yield Input(id="typed", select_on_focus=False)
            yield Pane(id="twin", fold=True)
            with Horizontal():
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(self._deed.button, id="do", disabled=True, compact=True)

    def on_mount(self) -> None:
        """Fill in what is known; ask the engine for the rest."""
        self._show("title", [[(self._deed.title, "text bold")]])
        self._show("facts", [[(fact, "text")] for fact in self._deed.facts])
        self._show("answer", [[("looking ...", "muted")]])
        if self._deed.asks:
            self._show("asks", [[(f"{self._deed.asks}:", "warning")]])
        self._show_twin("")
        self.query_one("#typed" if self._deed.asks else "#cancel").focus()
        self.run_worker(self._preview, thread=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Let it be done once the text is right."""
        self._show_twin(event.value)
        self._allow()

    def on_input_submitted(self) -> None:
        """Go on to the buttons; enter alone does nothing."""
        self.query_one("#cancel").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Do it, or leave it."""
        if event.button.id == "cancel":
            self.dismiss(None)
        elif not self._busy:
            self._busy = True
            self._allow()
            self._show("answer", [[("asking the engine ...", "muted")]])
            typed = self._typed
            self.run_worker(lambda: self._perform(typed), thread=True)

    def action_copy(self) -> None:
        """Copy the command that does the same."""
        self.app.copy_to_clipboard(command_line(self._deed.twin(self._typed)))

    @property
    def _typed(self) -> str:
        return self.query_one("#typed", Input).value if self._deed.asks else ""

    def _preview(self) -> None:
        try:
            act = self._deed.perform("", True)
        except (XopsError, OSError) as error:
            self.app.call_from_thread(self._refused, error)
        else:
            self.app.call_from_thread(self._offer, act)

    def _perform(self, typed: str) -> None:
        try:
            act = self._deed.perform(typed, False)
        except (XopsError, OSError) as error:
            self.app.call_from_thread(self._refused, error)
        else:
            self.app.call_from_thread(self._done, act)

    def _offer(self, act: Act) -> None:
        self._possible = True
        self._show("answer", plan_lines(act.steps))
        self._allow()

    def _done(self, act: Act) -> None:
        if self.is_current:
            self.dismiss(act)

    def _refused(self, error: XopsError | OSError) -> None:
        self._busy = self._possible = False
        self._show("answer", error_lines(error))
        self._allow()

    def _allow(self) -> None:
        if not self.is_attached:
            return
        allowed = self._possible and not self._busy and self._deed.accepts(self._typed)
        self.query_one("#do", Button).disabled = not allowed

    def _show(self, pane: str, lines: Sequence[Line]) -> None:
        if self.is_attached:  # an answer may come after the dialog was closed
            self.query_one(f"#{pane}", Pane).show(lines)

    def _show_twin(self, typed: str) -> None:
        self._show("twin", [[("$ ", "muted"), (command_line(self._deed.twin(typed)), "accent")]])


class ReadDialog(Dialog[None]):
    """Something to read: a plan, a reason, help."""

    def __init__(self, title: str, lines: Sequence[Line], *, fold: bool = True) -> None:
        super().__init__()
        self._title, self._lines, self._fold = title, lines, fold

    def compose(self) -> ComposeResult:
        """The text and one button."""
        with Vertical():
            yield Pane(id="title")
            with VerticalScroll(id="text"):
                yield Pane(id="facts", fold=self._fold)
            with Horizontal():
                yield Button("Close", id="close", compact=True)

    def on_mount(self) -> None:
        """Show the text."""
        self.query_one("#title", Pane).show([[(self._title, "text bold")]])
        self.query_one("#facts", Pane).show(self._lines)
        self.query_one("#text").focus()

    def on_button_pressed(self) -> None:
        """Close."""
        self.dismiss(None)

    def on_key(self, event: Any) -> None:
        """Move with the keys of the console; q and enter close."""
        moves = {"j": "scroll_down", "k": "scroll_up", "g": "scroll_home", "G": "scroll_end"}
        if event.key in moves:
            getattr(self.query_one("#text"), f"action_{moves[event.key]}")()
        elif event.key in ("q", "enter"):
            self.dismiss(None)


class LeaveDialog(Dialog[str]):
    """What Ctrl-C means: `leave`, `stop` the selected stage, or nothing."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        with Vertical():
            yield Pane(id="title")
            yield Pane(id="facts", fold=True)
            with Horizontal():
                yield Button("Nothing", id="cancel", compact=True)
                yield Button("Leave the console", id="leave", compact=True)
                if self._stage:
                    yield Button("Stop the stage ...", id="stop", compact=True)

    def on_mount(self) -> None:
        """Say what each answer does."""
        self.query_one("#title", Pane).show([[("Ctrl-C: what do you mean?", "text bold")]])
        lines: list[Line] = [[("Leaving stops nothing: every stage goes on without the console.", "text")]]
        if self._stage:
            lines.append([(f"Stopping asks again before it stops {self._stage}.", "text")])
        self.query_one("#facts", Pane).show(lines)
        self.query_one("#cancel").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss(None if event.button.id == "cancel" else event.button.id)


def plan_lines(steps: Sequence[Step]) -> list[Line]:
    """A plan: what happens to each stage, why, and what is not done again."""
    tones = {"start": "primary", "resume": "primary", "take_over": "success", "blocked": "warning"}
    width = max((len(step.stage) for step in steps), default=0)
    lines: list[Line] = []
    for step in steps:
        head = f"{step.action.replace('_', ' '):<10}{step.stage:<{width}}  "
        keeps = f" (keeps {step.reuses})" if step.reuses else ""
        lines.append([(head, tones.get(step.action, "muted")), (step.reason + keeps, "text")])
    return lines


def error_lines(error: XopsError | OSError) -> list[Line]:
    """An error as message and hint."""
    lines: list[Line] = [[(str(error), "error")]]
    hint = error.hint if isinstance(error, XopsError) else "xops doctor"
    return [*lines, [("try: ", "muted"), (hint, "accent")]] if hint else lines

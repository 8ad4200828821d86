"""The app every xops screen runs in: output that never blocks, endings that leave a sane terminal.

How to build on it:

    class Console(ConsoleApp):
        def get_default_screen(self) -> Screen: ...
        def status_line(self) -> str: ...        # what shows when the terminal is too small

    code = run_console(Console())                # the process's exit status

`app.glyphs` is the character set that widgets take, `app.capabilities` the rest. `app.leave(code)` ends
the app from anywhere (threads and signal handlers too). Everything that draws live data is one of
`screens.widgets`; text from outside passes `safe_text` there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.text import Text
from textual import constants, events, messages
from textual.app import App, ComposeResult, RenderResult
from textual.driver import Driver
from textual.screen import Screen
from textual.widget import Widget

from pipeline.engine.errors import ExitCode
from pipeline.engine.text import safe_text
from screens.terminal.crash import headline, record_crash
from screens.terminal.display import Capabilities, Surroundings, choose, is_tiny
from screens.terminal.driver import ConsoleDriver
from screens.terminal.glyphs import Glyphs
from screens.terminal.leaving import HANGUP, Deadline, TtyState, leaving_on_signals
from screens.terminal.painter import Painter
from screens.terminal.private import ChopsUpdate, LayoutUpdate
from screens.terminal.themes import THEMES


class ConsoleApp(App[int]):
    """An app whose output costs only what changed and whose end is orderly.

    Args:
        capabilities: what the terminal can do; None to look.
        theme: name of the theme to start with; None for the one that fits the terminal.
    """

    CSS_PATH: ClassVar[Any] = [Path(__file__).with_name("theme.tcss")]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, capabilities: Capabilities | None = None, *, theme: str | None = None) -> None:
        self.capabilities = capabilities or choose(Surroundings.observe())
        self.crash: BaseException | None = None
        self.crash_file: Path | None = None
        self._deadline: Deadline | None = None
        self._leaving: int | None = None
        super().__init__()
        self.animation_level = "none"
        for known in THEMES.values():
            self.register_theme(known)
        self.theme = theme or self.capabilities.theme

    @property
    def glyphs(self) -> Glyphs:
        """The characters this terminal can show."""
        return self.capabilities.glyphs

    @property
    def painter(self) -> Painter | None:
        """What draws on the terminal, with its link meter; None in tests, inline and in a browser."""
        return self._driver.painter if isinstance(self._driver, ConsoleDriver) else None

    def status_line(self) -> str:
        """The one line that shows when the terminal is too small for screens."""
        return f"xops: {self.size.width}x{self.size.height} is too small, 60x15 needed (q leaves)"

    def leave(self, code: int = 0) -> None:
        """End the app with exit status `code`; from any thread or signal handler."""
        self._leaving = code
        self._arm(code)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._exit_now, code)

    def hang_up(self) -> None:
        """The terminal is gone."""
        self.leave(HANGUP)

    def exit(self, result: int | None = None, return_code: int = 0, message: Any = None) -> None:
        """End the app; the deadline runs from here."""
        self._arm(return_code)
        super().exit(result, return_code, message)

    def on_ready(self) -> None:
        """Honour a signal that came before there was a loop."""
        if self._leaving is not None:
            self._exit_now(self._leaving)

    def on_resize(self, event: events.Resize) -> None:
        """Give way to the status line where nothing else fits."""
        if is_tiny(*event.size) and not isinstance(self.screen, StatusScreen):
            self.push_screen(StatusScreen())

    def get_driver_class(self) -> type[Driver]:
        """Ours, unless the environment names another (a browser does)."""
        return super().get_driver_class() if constants.DRIVER else cast("type[Driver]", ConsoleDriver)

    def get_line_filters(self) -> list[Any]:
        """Textual's own NO_COLOR filter would hide cursors; the painter sends no colour anyway."""
        return [f for f in super().get_line_filters() if type(f).__name__ not in ("NoColor", "Monochrome")]

    def on_terminal_supports_synchronized_output(
        self, _event: messages.TerminalSupportsSynchronizedOutput
    ) -> None:
        """Wrap longer frames so that they appear at once."""
        if self.painter is not None:
            self.painter.batches = True

    def _exit_now(self, code: int) -> None:
        self.exit(code, code)

    def _arm(self, code: int) -> None:
        if self._deadline is not None:
            self._deadline.arm(code)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Textual's way out for pictures: hand them to the painter instead."""
        painter = self.painter
        if painter is None or not isinstance(renderable, (ChopsUpdate, LayoutUpdate)):
            super()._display(screen, renderable)
            return
        try:
            if self._running and not self._closed and not self._batch_count:
                x, y = screen.outer_size.clamp_offset(self.cursor_position)
                painter.draw(renderable, (self.size.width, self.size.height), (x, y))
        finally:
            self.post_display_hook()

    def panic(self, *renderables: Any) -> None:  # noqa: ARG002 - what Textual would print may hold anything
        """End the app after a defect; the record is redacted, see `run_console`."""
        self._fatal_error()

    def _fatal_error(self) -> None:
        """Write a redacted record in the place of a traceback with local variables."""
        self.crash = self._exception or RuntimeError("the terminal's input could not be understood")
        self.crash_file = record_crash(self.crash)
        self._arm(ExitCode.SOFTWARE)
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        """Print nothing: `run_console` says it in one line."""
        self._exit_renderables.clear()


class StatusLine(Widget):
    """One line of the app's own summary, renewed each second."""

    def on_mount(self) -> None:
        """Start to follow."""
        self.set_interval(1.0, self.refresh)

    def render(self) -> RenderResult:
        """Whatever of the line fits."""
        app = cast("ConsoleApp", self.app)
        return Text(safe_text(app.status_line(), max(1, self.size.width)), no_wrap=True)


class StatusScreen(Screen[None]):
    """Stands in for every screen while the terminal is too small."""

    BINDINGS: ClassVar[Any] = [("q", "app.quit", "Leave")]

    def compose(self) -> ComposeResult:
        """Nothing but the line."""
        yield StatusLine()

    def on_resize(self) -> None:
        """Go away when there is room."""
        self._make_way()

    def on_screen_resume(self) -> None:
        """The same, after a dialog above closed."""
        self._make_way()

    def _make_way(self) -> None:
        if self.is_current and not is_tiny(*self.app.size):
            self.dismiss()


def run_console(app: ConsoleApp, *, inline: bool = False, mouse: bool = True) -> int:
    """Run `app` on this terminal until it leaves; return the exit status of the process.

    SIGHUP, SIGTERM and SIGINT give 129, 143 and 130, a terminal that vanished 129, a defect of xops 70.
    """
    tty = TtyState()
    app._deadline = Deadline(tty)
    with leaving_on_signals(app.leave):
        try:
            app.run(inline=inline, mouse=mouse)
        finally:
            app._deadline.disarm()
    if app.crash is not None:
        where = f"; details in {app.crash_file}" if app.crash_file else ""
        sys.stderr.write(f"xops: an error of its own ({headline(app.crash)}){where}\n")
        return int(ExitCode.SOFTWARE)
    return int(app.return_code or 0)

"""The console: its screens on one feed, every action from one table. Leaving it stops nothing that runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ScreenStackError
from textual.binding import Binding
from textual.screen import Screen

from pipeline.engine.acts import Act
from pipeline.engine.digest import remember_seen
from pipeline.engine.errors import XopsError
from screens.actions import ACTIONS, BY_NAME, Target, command_line
from screens.base import ConsoleApp
from screens.command import CommandDialog, commands
from screens.compare import CompareScreen
from screens.data import DataScreen
from screens.deeds import Hands
from screens.dialogs import ActDialog, LeaveDialog, ReadDialog, error_lines, plan_lines
from screens.evals import EvalScreen
from screens.feed import Feed, Picture, WorkspaceFeed
from screens.frame import Frame
from screens.gates import GatesScreen
from screens.help import help_lines
from screens.logs import LogScreen
from screens.overview import OverviewScreen, detail_lines
from screens.publish import PublishScreen
from screens.relay import RelayScreen
from screens.runs import RunsScreen
from screens.terminal.display import Capabilities
from screens.train import TrainScreen
from screens.transfer import TransferScreen
from screens.widgets.lines import Piece

#: Seconds that a notice stays in the place of the footer.
NOTICE_S = 4.0


class Console(ConsoleApp):
    """The app.

    Args:
        feed: what to show; started and stopped by the app.
        read_only: refuse every act.
        capabilities: what the terminal can do; None to look.
        theme: name of the theme to start with; None for the one that fits the terminal.
        frame_hz: looks for a new picture per second.

    Attributes:
        shown: the picture on the screen.
        stage: name of the selected stage.
        paused: the display is held still.
        notice: a message in the place of the footer, empty for none.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding(
            action.keys,
            f"do('{action.name}')",
            action.label or action.summary,
            priority=action.name == "interrupt",
        )
        for action in ACTIONS
    ]

    def __init__(
        self,
        feed: Feed,
        *,
        read_only: bool = False,
        capabilities: Capabilities | None = None,
        theme: str | None = None,
        frame_hz: float = 4.0,
    ) -> None:
        super().__init__(capabilities, theme=theme)
        self.feed = feed
        self.read_only = read_only or not isinstance(feed, WorkspaceFeed)
        self.shown = Picture()
        self.stage = ""
        self.paused = False
        self.notice: Piece | None = None
        self._notice_end = 0.0
        self._frame_s = 1.0 / frame_hz
        self._aged = 0.0
        self._drawn: Picture | None = None
        self._screens = {s.called: s for s in self._made_screens()}

    @staticmethod
    def _made_screens() -> tuple[Frame, ...]:
        return (
            OverviewScreen(),
            RelayScreen(),
            TransferScreen(),
            DataScreen(),
            TrainScreen(),
            EvalScreen(),
            GatesScreen(),
            CompareScreen(),
            PublishScreen(),
            RunsScreen(),
            LogScreen(),
        )

    @property
    def target(self) -> Target:
        """What the cursor is on."""
        snapshot = self.shown.snapshot
        row = snapshot.row(self.stage) if snapshot else None
        transfer = self._screens["transfer"]
        chosen = transfer.chosen if isinstance(transfer, TransferScreen) and transfer.is_current else None
        file, chunk = (chosen[0].path, chosen[1]) if chosen else ("", None)
        data = self._screens["data"]
        one = data.chosen if isinstance(data, DataScreen) and data.is_current else None
        return Target(snapshot, row.status if row else None, file, chunk, one.path if one else "")

    def get_default_screen(self) -> Screen[Any]:
        """The Overview."""
        return self._screens["overview"]

    def status_line(self) -> str:
        """The run in one line."""
        snapshot = self.shown.snapshot
        if snapshot is None:
            return f"xops: {self.shown.problem or 'no run'} (q leaves)"
        states = " ".join(
            f"{row.stage}:{self.glyphs.state(row.status.state).letter}" for row in snapshot.rows
        )
        return f"{len(snapshot.needs_human)}! {states} {snapshot.run_id}"

    def on_mount(self) -> None:
        """Start to look."""
        for name, screen in self._screens.items():
            if name != "overview":
                self.install_screen(screen, name)
        self.feed.start()
        self.set_interval(self._frame_s, self._frame)
        self.call_after_refresh(self._frame)

    def on_unmount(self) -> None:
        """Note when this user left; nothing else ends."""
        self.feed.stop()
        if isinstance(self.feed, WorkspaceFeed):
            remember_seen(self.feed.root)

    def say(self, text: str, tone: str = "text") -> None:
        """Show a message in the place of the footer for a while."""
        self.notice = (text, tone)
        self._notice_end = time.monotonic() + NOTICE_S
        self._redraw()

    def choose_stage(self, stage: str) -> None:
        """The cursor came to a stage."""
        self.stage = stage

    def open_run(self, run_id: str) -> None:
        """Show another run."""
        self.stage = ""
        self.feed.select(run_id)
        self.action_do("overview")

    def action_do(self, name: str) -> None:
        """Do what the table of actions calls `name`."""
        action = BY_NAME[name]
        if action.acts and self.read_only:
            self.say(f"read-only: {action.name} is refused", "warning")
        elif action.acts:
            self._ask(name)
        else:
            getattr(self, f"do_{name.replace('-', '_')}")()

    # ---- looking ----------------------------------------------------------------------------------

    def do_overview(self) -> None:
        """Show the Overview."""
        self._go("overview")

    def do_relay(self) -> None:
        """Show the Relay."""
        self._go("relay")

    def do_transfer(self) -> None:
        """Show the chunks."""
        self._go("transfer")

    def do_data(self) -> None:
        """Show the episodes."""
        self._go("data")

    def do_train(self) -> None:
        """Show the training."""
        self._go("train")

    def do_eval(self) -> None:
        """Show the evaluation."""
        self._go("eval")

    def do_gates(self) -> None:
        """Show the gates."""
        self._go("gates")

    def do_compare(self) -> None:
        """Show this run beside another one."""
        self._go("compare")

    def do_publish(self) -> None:
        """Show what goes out."""
        self._go("publish")

    def do_runs(self) -> None:
        """Show the Runs."""
        self._go("runs")

    def do_log(self) -> None:
        """Show the Log at the selected stage."""
        self._go("log")

    def do_plan(self) -> None:
        """Show what a start would do."""
        snapshot = self.shown.snapshot
        lines = plan_lines(snapshot.steps) if snapshot else []
        self.push_screen(
            ReadDialog("What a start would do", lines or [[("there is nothing to plan", "muted")]])
        )

    def do_explain(self) -> None:
        """Show everything about the selected stage."""
        snapshot = self.shown.snapshot
        row = snapshot.row(self.stage) if snapshot else None
        if snapshot is None or row is None:
            self.say("no stage is selected", "warning")
            return
        self.push_screen(ReadDialog(f"Why is {row.stage} {row.status.state}?", detail_lines(row, snapshot)))

    def do_help(self) -> None:
        """Show keys and commands."""
        lines = help_lines(self.target, read_only=self.read_only)
        self.push_screen(ReadDialog("Keys", lines, fold=False))

    def do_commands(self) -> None:
        """Let the operator type a command."""
        known = commands([run.run_id for run in self.shown.runs])
        self.push_screen(CommandDialog(known), self._typed)

    def do_filter(self) -> None:
        """Open the filter line."""
        if isinstance(self.screen, Frame):
            self.screen.open_filter()

    def do_next_need(self) -> None:
        """Go to the next stage that needs a human."""
        self._walk(1)

    def do_previous_need(self) -> None:
        """Go to the previous one."""
        self._walk(-1)

    def do_copy(self) -> None:
        """Copy the command for what the cursor is on: what it needs, else how to look at it."""
        line = command_line(self._advised())
        self.copy_to_clipboard(line)
        self.say(f"copied: {line}")

    def do_pause(self) -> None:
        """Hold the display, or let it go on."""
        self.paused = not self.paused
        self._redraw()

    def do_save(self) -> None:
        """Save the screen as text and SVG in the working directory."""
        name = time.strftime("xops-%Y%m%d-%H%M%S")
        svg = self.export_screenshot(title="xops")
        text = "\n".join(strip.text.rstrip() for strip in self.screen._compositor.render_strips())
        self.run_worker(lambda: self._save(Path.cwd() / name, svg, text), thread=True)

    def do_interrupt(self) -> None:
        """Ask what Ctrl-C means."""
        active = self.target.stage is not None and self.target.stage.state.active and not self.read_only
        self.push_screen(LeaveDialog(self.stage if active else ""), self._interrupted)

    def do_leave(self) -> None:
        """Leave; the run continues."""
        self.leave(0)

    # ---- inside -----------------------------------------------------------------------------------

    def _ask(self, name: str) -> None:
        if not isinstance(self.feed, WorkspaceFeed):
            return
        try:
            deed = Hands(self.feed.workspace, self.feed.registry).deed(name, self.target)
        except XopsError as error:
            self.say(" - ".join(filter(None, (str(error), error.hint))), "warning")
            return
        self.push_screen(ActDialog(deed), self._acted)

    def _acted(self, act: Act | None) -> None:
        self.feed.nudge()
        if act is not None:
            self.say(act.message, "success")

    def _interrupted(self, answer: str | None) -> None:
        if answer:
            self.action_do(answer)

    def _typed(self, command: str | None) -> None:
        verb, _, rest = (command or "").partition(" ")
        if verb == "theme":
            self.theme = rest
        elif verb == "open":
            self.open_run(rest)
        elif verb:
            self.action_do(verb)

    def _walk(self, step: int) -> None:
        needs = [need.stage for need in self.shown.snapshot.needs_human] if self.shown.snapshot else []
        if not needs:
            self.say("nothing needs a human", "success")
            return
        at = needs.index(self.stage) if self.stage in needs else (-1 if step > 0 else 0)
        self.stage = needs[(at + step) % len(needs)]
        self.do_overview()
        overview = self._screens["overview"]
        if isinstance(overview, OverviewScreen):
            overview.choose(self.stage)

    def _advised(self) -> tuple[str, ...]:
        snapshot = self.shown.snapshot
        if isinstance(self.screen, RunsScreen) or snapshot is None:
            return ("xops", "run", "ls")
        if snapshot.foreign:
            return ("xops", "watch", str(self.feed.root), "--once")
        need = next((need for need in snapshot.needs_human if need.stage == self.stage), None)
        twin = BY_NAME["explain" if self.stage else "overview"].twin
        return need.argv if need else twin(self.target) if twin else ()

    def _save(self, base: Path, svg: str, text: str) -> None:
        try:
            base.with_suffix(".svg").write_text(svg, "utf-8")
            base.with_suffix(".txt").write_text(text + "\n", "utf-8")
        except OSError as error:
            self.call_from_thread(self.say, error_lines(error)[0][0][0], "error")
        else:
            self.call_from_thread(self.say, f"saved {base.name}.svg and .txt")

    def _go(self, name: str) -> None:
        """Show a screen: the Overview lies below everything, one other may lie on it."""
        if self.screen is self._screens[name]:
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if name != "overview":
            self.push_screen(self._screens[name])

    def _frame(self) -> None:
        """Draw a new picture if there is one; ages move on once a second."""
        now = time.monotonic()
        if self.notice and now > self._notice_end:
            self.notice = None
            self._drawn = None
        if self.paused:
            return
        self.shown = self.feed.picture
        if self.shown is not self._drawn or now - self._aged >= 1.0:
            self._aged = now
            self._redraw()

    def _redraw(self) -> None:
        try:
            screen = self.screen
        except ScreenStackError:
            return
        if isinstance(screen, Frame) and screen.is_mounted and screen.is_running:
            self._drawn = self.shown
            screen.redraw()

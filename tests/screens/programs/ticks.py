"""The same seeded minute of a console, drawn by Textual itself (`stock`) or by our painter (`ours`)."""

from __future__ import annotations

import random
import sys
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Header, ProgressBar, Static

from screens.base import ConsoleApp, run_console
from screens.terminal.glyphs import BRAILLE
from screens.terminal.themes import THEMES
from screens.widgets.bars import Bar, Bars
from screens.widgets.columns import Column
from screens.widgets.journal_log import JournalLog
from screens.widgets.table import Table

WORDS = [
    "\u6f22\u5b57",
    "abc",
    "e\u0301te\u0301",
    "\U0001f642 ok",
    "",
    "0.25",
    "\u0436\u0436\u0436",
    "x" * 30,
    "\u6f22",
]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 3
TICKS = 60


class Stock(App[int]):
    CSS_PATH = ConsoleApp.CSS_PATH
    ENABLE_COMMAND_PALETTE = False
    glyphs = BRAILLE

    def __init__(self) -> None:
        super().__init__()
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = "dark"


class Dialog(ModalScreen[None]):
    CSS = "Dialog { align: center middle; } Static { width: 30; height: 5; border: round $primary; }"

    def compose(self) -> ComposeResult:
        yield Static("\u6f22\u5b57 dialog")


Base: Any = ConsoleApp if sys.argv[1] == "ours" else Stock


class Ticks(Base):
    CSS = "DataTable, Table { width: 1fr; height: 1fr; } #side { width: 1fr; } JournalLog { height: 1fr; }"
    BINDINGS: ClassVar[Any] = [("q", "quit", "Quit")]

    def compose(self) -> ComposeResult:
        yield Header()
        with Horizontal():
            yield DataTable()
            yield Table([Column("n", "N", 5), Column("w", "Word", 10, grows=True)])
            with Vertical(id="side"):
                yield Static(id="words")
                yield ProgressBar(total=TICKS, show_eta=False)
                yield Bars()
                yield JournalLog(limit=50)
        yield Footer()

    def on_mount(self) -> None:
        self.chance = random.Random(SEED)
        self.title = "Ticks"
        stock = self.query_one(DataTable)
        stock.cursor_type = "row"
        self.columns = stock.add_columns("a", "b", "c")
        self.rows = [stock.add_row(i, "\u6f22\u5b57" + str(i), "e\u0301" * (i % 7)) for i in range(100)]
        self.query_one(Table).set_rows((str(i), (i, "\u6f22" * (i % 9))) for i in range(200))
        self.done = 0
        self.timer = self.set_interval(0.04, self.tick)

    def tick(self) -> None:
        if self.done == TICKS:
            self.timer.stop()
            self.words.update("DONE" + "MARK")
            return
        if self.done == 0:
            self.words = self.query_one("#words", Static)
            self.stock, self.table = self.query_one(DataTable), self.query_one(Table)
            self.log_view, self.progress, self.bars = (
                self.query_one(JournalLog), self.query_one(ProgressBar), self.query_one(Bars)
            )  # fmt: skip
        self.done += 1
        chance = self.chance
        for _ in range(10):
            word = chance.choice(WORDS)
            self.stock.update_cell(self.rows[chance.randrange(100)], chance.choice(self.columns), word)
            self.table.update_cell(str(chance.randrange(40)), "w", word)
        self.words.update(f"[b red]\u6f22\u5b57[/] {self.done}\n[on blue]{'w' * chance.randrange(30)}")
        self.progress.update(progress=self.done)
        lanes = range(chance.randrange(1, 4))
        self.bars.show([Bar(str(i), f"lane {i}", chance.randrange(50), 50, "B") for i in lanes])
        self.log_view.append([(chance.choice(WORDS) * 5, chance.choice(["text", "error bold", "muted"]))])
        self.change_scene()

    def change_scene(self) -> None:
        if self.done == 20:
            self.stock.move_cursor(row=60)
            self.table.move_to("120")
        elif self.done in (30, 45):
            self.theme = "light" if self.done == 30 else "ansi"
        elif self.done == 38:
            self.push_screen(Dialog())
        elif self.done == 50:
            self.screen.dismiss()


if __name__ == "__main__":
    app = Ticks()
    if isinstance(app, ConsoleApp):
        sys.exit(run_console(app))
    app.run()

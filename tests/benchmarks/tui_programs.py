"""The screens that `bench_tui.py` measures, with stock Textual widgets or with ours.

    python tests/benchmarks/tui_programs.py stock|ours minimal|dashboard|idle|busy|rows [RECORD]

`RECORD` is a file for what only the program itself can see: the longest gap of its loop, how long a
table of 100,000 rows took.
"""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Header, ProgressBar, Sparkline, Static

KIND, SCENE = sys.argv[1], sys.argv[2]
RECORD = Path(sys.argv[3]) if len(sys.argv) > 3 else None

if KIND == "ours":
    from screens.base import ConsoleApp, run_console
    from screens.widgets.bars import Bar, Bars
    from screens.widgets.chart import Chart, Series
    from screens.widgets.columns import Column
    from screens.widgets.table import Table

    Base: Any = ConsoleApp
else:
    Base = App

COLUMNS = [f"c{i}" for i in range(8)]


class Program(Base):
    """What all scenes share: a footer that counts keys, and the longest gap of the loop."""

    CSS = """
    DataTable, Table { width: 2fr; height: 1fr; }
    #side { width: 1fr; }
    Chart, Sparkline { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[Any] = [("q", "quit", "Leave"), ("x", "count", "Count")]

    def __init__(self) -> None:
        super().__init__()
        self.chance = random.Random(1)
        self.count = 0
        self.longest = 0.0
        self.before = 0.0

    def on_mount(self) -> None:
        if RECORD is not None and SCENE == "busy":
            self.set_interval(0.05, self.beat)

    def beat(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - (self.before or now))
        self.before = now
        assert RECORD is not None
        RECORD.write_text(str(self.longest))

    def action_count(self) -> None:
        self.count += 1
        self.query_one("#count", Static).update(f"counted-{self.count}")

    def make_table(self, rows: int) -> Any:
        values = [(str(r), [f"{r}.{c}" for c in range(8)]) for r in range(rows)]
        if KIND == "ours":
            return Table([Column(name, name, 10) for name in COLUMNS], values)
        table: DataTable[str] = DataTable(cursor_type="row")
        for name in COLUMNS:
            table.add_column(name, key=name, width=10)
        for row_id, row in values:
            table.add_row(*row, key=row_id)
        return table

    def set_cell(self, table: Any, row: int) -> None:
        table.update_cell(str(row), self.chance.choice(COLUMNS), f"{self.chance.random():.6f}")


class Minimal(Program):
    def compose(self) -> ComposeResult:
        yield Static("painted", id="count")


class Idle(Program):
    """A table at rest; also what the first paint of a console looks like."""

    def compose(self) -> ComposeResult:
        yield Static("painted", id="count")
        yield self.make_table(200)
        yield Footer()


class Busy(Program):
    """200 cells a second."""

    def compose(self) -> ComposeResult:
        yield Static("painted", id="count")
        self.table = self.make_table(1000)
        yield self.table

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(
            0.05, lambda: [self.set_cell(self.table, self.chance.randrange(40)) for _ in range(10)]
        )


class Dashboard(Program):
    """A table with 20 changed cells a second, a curve of 2,000 points each second, eight bars at 5 Hz."""

    def compose(self) -> ComposeResult:
        yield Header()
        with Horizontal():
            self.table = self.make_table(1000)
            yield self.table
            with Vertical(id="side"):
                yield Static("painted", id="count")
                self.curve = Chart(unit="loss") if KIND == "ours" else Sparkline([0.0])
                yield self.curve
                self.lanes = [Bars()] if KIND == "ours" else [ProgressBar(total=1000) for _ in range(8)]
                yield from self.lanes
        yield Footer()

    def on_mount(self) -> None:
        self.steps = 1000
        self.bars_done = 0
        self.set_interval(0.05, lambda: self.set_cell(self.table, self.chance.randrange(1000)))
        self.set_interval(1.0, self.draw_curve)
        self.set_interval(0.2, self.move_bars)

    def draw_curve(self) -> None:
        self.steps += 1
        points = range(max(0, self.steps - 2000), self.steps)
        losses = [3 * math.exp(-x / 400) + 0.1 + 0.05 * math.sin(x * 1.7) for x in points]
        if KIND == "ours":
            self.curve.show([Series("loss", list(zip(points, losses, strict=True)))])
        else:
            self.curve.data = losses

    def move_bars(self) -> None:
        self.bars_done += 1
        if KIND == "ours":
            lanes = [
                Bar(str(i), f"shard {i}", self.bars_done % (900 + i), 1000, "rows", 5.0, (180.0, 240.0))
                for i in range(8)
            ]
            self.lanes[0].show(lanes)
        else:
            for bar in self.lanes:
                bar.update(progress=self.bars_done)


class Rows(Program):
    """A hundred thousand rows; then one visible cell at 10 Hz."""

    def compose(self) -> ComposeResult:
        yield Static("wait", id="count")

    def on_mount(self) -> None:
        self.begun = time.perf_counter()
        self.table = self.make_table(100_000)
        self.mount(self.table)
        self.call_after_refresh(self.ready)

    def ready(self) -> None:
        assert RECORD is not None
        RECORD.write_text(str(time.perf_counter() - self.begun))
        self.table.focus()
        self.query_one("#count", Static).update("painted")

    def action_count(self) -> None:
        self.set_interval(0.1, lambda: self.set_cell(self.table, 5))


SCENES = {"minimal": Minimal, "idle": Idle, "busy": Busy, "dashboard": Dashboard, "rows": Rows}

if __name__ == "__main__":
    app = SCENES[SCENE]()
    if KIND == "ours":
        sys.exit(run_console(app))
    app.run()

"""Apps for the widget tests: one with any widget, one with every widget, for each character set."""

from __future__ import annotations

import math
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Region
from textual.widget import Widget

from pipeline.engine.state import StageState
from screens.base import ConsoleApp
from screens.terminal.display import Capabilities, Colour, Display
from screens.terminal.glyphs import BRAILLE, Glyphs
from screens.widgets.bars import Bar, Bars
from screens.widgets.chart import Chart, Series
from screens.widgets.columns import Column, Shown
from screens.widgets.journal_log import JournalLog
from screens.widgets.table import Table

#: What no log may do to a terminal: colours, cursor moves, titles, bells, direction overrides, markup.
HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x07\r\nb\u202eell [bold]x[/] \ud800 \u6f22\u5b57 \x9b2Jend"


class Holding(ConsoleApp):
    """Shows the widgets it is given."""

    def __init__(self, *held: Widget, glyphs: Glyphs = BRAILLE, theme: str = "dark") -> None:
        self.held = held
        super().__init__(capabilities(glyphs), theme=theme)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield from self.held


class Gallery(Holding):
    """Every widget with something in it."""

    CSS = "Table { height: 7; } Bars { margin-top: 1; } Chart { height: 1fr; } JournalLog { height: 4; }"

    def __init__(self, glyphs: Glyphs = BRAILLE, theme: str = "dark") -> None:
        super().__init__(stages(), lanes(), curves(), journal(), glyphs=glyphs, theme=theme)


def capabilities(glyphs: Glyphs) -> Capabilities:
    """A terminal that can do everything but maybe show every character."""
    return Capabilities(Display.FULL, Colour.TRUE, glyphs)


def stages() -> Table:
    """Stages in all the states that look alike without their marks."""

    def state(value: Any, glyphs: Glyphs) -> Shown:
        mark = glyphs.state(value)
        return f"{mark.glyph}{mark.letter} {value.value}", mark.tone

    columns = [
        Column("stage", "Stage", 10, grows=True),
        Column("state", "State", 12, show=state),
        Column("loss", "Loss", 8, right=True),
        Column("host", "Host", 30, priority=2),
        Column("note", "Note", 30, priority=3),
    ]
    rows = [
        ("select", ("select", StageState.SUCCEEDED, None, "gpu-a", "")),
        ("train", ("train", StageState.RUNNING, 0.3125, "gpu-b", "epoch 3")),
        ("eval", (HOSTILE, StageState.FAILED, 12.5, "gpu-c", HOSTILE)),
        ("push", ("push", StageState.BLOCKED, None, "-", "")),
    ]
    return Table(columns, rows)


def lanes() -> Bars:
    """Lanes with and without totals."""
    return Bars(
        [
            Bar("a", "shard 0", 12, 56, "samples", 0.4, (95.0, 130.0)),
            Bar("b", "relay", 5 << 30, 9 << 30, "B", 8 << 20, (512.0, 512.0), StageState.STALLED),
            Bar("c", "scan", 812, None, "files", 77.0),
        ]
    )


def curves() -> Chart:
    """A loss that diverges for a while, and a second curve with a best point."""
    chart = Chart(unit="loss")
    train = [(x, 2.5 * math.exp(-x / 300) + 0.2 * math.sin(x / 9)) for x in range(1000)]
    train[600:640] = [(x, math.nan) for x in range(600, 640)]
    val = [(x, 2.6 - x / 500 + (x / 700) ** 3) for x in range(0, 1000, 50)]
    chart.show([Series("train", train), Series("val", val, "accent", "min")])
    return chart


def journal() -> JournalLog:
    """Lines good, bad and hostile."""
    log = JournalLog()
    log.append([f"line {n}" for n in range(20)])
    log.append([("loss is nan", "error"), HOSTILE, "x" * 600_000])
    return log


def refreshed(widget: Widget, monkeypatch: Any) -> list[Region]:
    """Record from now on what `widget` asks to be repainted; the whole of it is one large region."""
    regions: list[Region] = []
    original = widget.refresh

    def refresh(*asked: Region, **options: Any) -> Widget:
        regions.extend(asked or [widget.size.region])
        return original(*asked, **options)

    monkeypatch.setattr(widget, "refresh", refresh)
    return regions


def shown(widget: Any) -> list[str]:
    """The text of the visible lines."""
    return [widget.render_line(y).text for y in range(widget.size.height)]

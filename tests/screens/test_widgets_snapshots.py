"""Pictures of the widgets, to be looked at when they change: `pytest --snapshot-update`, then the report."""

from __future__ import annotations

import pytest
from stage import Stage
from textual.widget import Widget

from pipeline.engine.state import StageState
from screens.terminal.glyphs import ASCII, BRAILLE
from screens.widgets.bars import Bar, Bars
from screens.widgets.columns import Column
from screens.widgets.journal_log import JournalLog
from screens.widgets.table import Table

LOOKS = {
    "dark": (BRAILLE, "dark"),
    "mono": (BRAILLE, "mono"),
    "ascii": (ASCII, "mono"),
    "light": (BRAILLE, "light"),
}


def a_table() -> Table:
    columns = [
        Column("run", "Run", 18, grows=True),
        Column(
            "state",
            "State",
            12,
            show=lambda s, g: (f"{g.state(s).glyph}{g.state(s).letter} {s}", g.state(s).tone),
        ),
        Column("loss", "Loss", 8, right=True, priority=1),
        Column("note", "Note", 20, grows=True, priority=2),
    ]
    states = list(StageState)
    rows = [
        (f"r{i}", (f"run-{i} \u6f22\u5b57", states[i % 12], i / 7, "x\x1b[31m\u202ey" if i % 3 else None))
        for i in range(60)
    ]
    table = Table(columns, rows)
    table.marked = {"r1", "r4"}
    table.sort("loss", reverse=True)
    return table


def a_log() -> JournalLog:
    log = JournalLog()
    tones = ["text", "muted", "warning", "error bold", "success"]
    log.append((f"{i:04} event \u6f22\u5b57 \x1b[31m{'long ' * (i % 40)}", tones[i % 5]) for i in range(80))
    return log


def bars() -> Bars:
    return Bars(
        [
            Bar(
                state,
                f"lane {state}",
                i * 9,
                None if i == 4 else 100,
                "B" if i % 2 else "rows",
                i / 2,
                (i * 60, i * 90),
                state,
            )
            for i, state in enumerate(StageState)
        ]
    )


@pytest.mark.parametrize(
    ("look", "size"), [*((look, (80, 24)) for look in LOOKS), ("dark", (160, 48))], ids=[*LOOKS, "large"]
)
@pytest.mark.parametrize("make", [a_table, a_log, bars])
def test_picture(snap_compare, make, look: str, size: tuple[int, int]) -> None:
    glyphs, theme = LOOKS[look]
    widget: Widget = make()
    assert snap_compare(Stage(widget, glyphs=glyphs, theme=theme), terminal_size=size)

"""The Gates screen: every gate of the run, its checks with their evidence, and what people decided."""

from __future__ import annotations

import json
import time
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget

from pipeline.engine.gates import Check, GateRecord
from pipeline.engine.snapshot import Row
from screens.feed import Picture
from screens.frame import Frame
from screens.overview import shown_gate
from screens.pane import Line, Pane
from screens.widgets.columns import Column
from screens.widgets.table import Table
from screens.widgets.units import spoken_duration

COLUMNS = (
    Column("stage", "Gate of", 16, grows=True),
    Column("verdict", "Verdict", 12, show=shown_gate),
    Column("checks", "Checks", 7, right=True),
    Column("failed", "Failed", 7, right=True),
    Column("unsigned", "To sign", 8, right=True, priority=1),
    Column("decided", "Decided by", 24, priority=2),
)

#: Most of a check's evidence that is shown.
_EVIDENCE = 300

_ANSWERS = {True: ("pass ", "success"), False: ("FAIL ", "error bold"), None: ("sign ", "warning bold")}


class GatesScreen(Frame):
    """Key 6."""

    called = "gates"
    DEFAULT_CSS = """
    GatesScreen #gates { height: auto; max-height: 45vh; }
    GatesScreen #scroll { height: 1fr; background: $background; }
    """

    def body(self) -> ComposeResult:
        """Gates, and the checks of the selected one."""
        yield Table(COLUMNS, id="gates", empty="no gate has been evaluated yet")
        with VerticalScroll(id="scroll", can_focus=False):
            yield Pane(id="checks", fold=True)

    def main(self) -> Widget:
        """The table of gates."""
        return self.query_one("#gates", Table)

    def show(self, picture: Picture) -> None:
        """Draw the gates of the run that is shown."""
        rows = [row for row in (picture.snapshot.rows if picture.snapshot else ()) if row.status.gate]
        table = self.query_one("#gates", Table)
        before = table.cursor_id or self.console.stage
        table.set_rows((row.stage, _values(row)) for row in rows)
        if before:
            table.move_to(before)
        self._show_checks()

    def narrow(self, word: str) -> None:
        """Only gates whose stage or verdict contains the word."""
        wanted = (lambda _, values: word in f"{values[0]} {values[1]}".lower()) if word else None
        self.query_one("#gates", Table).filter(wanted)

    @on(Table.Highlighted)
    def _moved(self) -> None:
        stage = self.query_one("#gates", Table).cursor_id
        if stage:
            self.console.choose_stage(stage)
        self._show_checks()

    def _show_checks(self) -> None:
        snapshot = self.console.shown.snapshot
        stage = self.query_one("#gates", Table).cursor_id
        row = snapshot.row(stage) if snapshot and stage else None
        gate = row.status.gate if row else None
        lines = gate_lines(gate, time.time()) if gate else [[("no gate has been evaluated yet", "muted")]]
        self.query_one("#checks", Pane).show(lines)


def gate_lines(gate: GateRecord, now: float) -> list[Line]:
    """Checks, the worst first, then decisions, the newest first."""
    order = {False: 0, None: 1, True: 2}
    lines: list[Line] = [
        [
            (f"attempt {gate.attempt}, asked {spoken_duration(max(0.0, now - gate.evaluated))} ago", "muted"),
            ("" if gate.waivable else "; it cannot be waived", "muted"),
        ]
    ]
    for check in sorted(gate.checks, key=lambda one: order[one.ok]):
        lines += _check(check)
    for decision in reversed(gate.decisions):
        age = spoken_duration(max(0.0, now - decision.when))
        now_void = "" if decision.digest == gate.digest else ", of other evidence"
        lines.append(
            [
                (f"{decision.kind} ", "accent bold"),
                (f"by {decision.who} {age} ago{now_void}: ", "muted"),
                (decision.why, "text"),
            ]
        )
    return lines


def _check(check: Check) -> list[Line]:
    lines: list[Line] = [[_ANSWERS[check.ok], (f"{check.name}  ", "text bold"), (check.detail, "text")]]
    if check.ok is not True and check.evidence:
        text = json.dumps(check.evidence, ensure_ascii=False, default=str)
        lines.append([("      ", "text"), (text[:_EVIDENCE], "muted")])
    return lines


def _values(row: Row) -> tuple[Any, ...]:
    gate = row.status.gate
    checks = gate.checks if gate else ()
    decision = gate.decisions[-1] if gate and gate.decisions else None
    return (
        row.stage,
        row.status.verdict,
        len(checks),
        sum(check.ok is False for check in checks),
        sum(check.ok is None for check in checks),
        f"{decision.kind}: {decision.who}" if decision else None,
    )

"""The Train screen: curves, the last step, what it answers, what it uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget

from pipeline.views.train import TrainFold
from screens import train_lines
from screens.following import FollowingFrame
from screens.pane import Pane
from screens.widgets.chart import Chart


class TrainScreen(FollowingFrame[TrainFold]):
    """Key 4."""

    called = "train"
    stages = ("train",)
    DEFAULT_CSS = """
    TrainScreen #loss { height: 1fr; min-height: 6; }
    TrainScreen #all { height: auto; max-height: 45%; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[Any]] = [Binding("m", "logarithmic", "Log scale", show=False)]

    def __init__(self) -> None:
        super().__init__(TrainFold)

    def body(self) -> ComposeResult:
        """Headline, curves, detail."""
        yield Pane(id="headline")
        yield Chart(unit="loss", id="loss", empty="no step yet")
        with VerticalScroll(id="all"):
            yield Pane(id="detail", fold=True)

    def main(self) -> Widget:
        """The part that scrolls."""
        return self.query_one("#all", VerticalScroll)

    def action_logarithmic(self) -> None:
        """Loss on a logarithmic axis, or not."""
        chart = self.query_one("#loss", Chart)
        chart.logarithmic = not chart.logarithmic

    def draw(self, folds: Sequence[TrainFold]) -> None:
        """Draw what is known."""
        fold = max(folds, key=lambda one: one.last or 0.0, default=TrainFold())
        now = time.time()
        self.query_one("#headline", Pane).show(train_lines.headline(fold, self.row, now))
        self.query_one("#loss", Chart).show(train_lines.curves(fold) if fold.loss else [])
        lines = train_lines.detail_lines(fold, self.size.width, self.console.glyphs)
        self.query_one("#detail", Pane).show(lines)

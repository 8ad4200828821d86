"""The Train screen: curves, the last step, what it answers, what it uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget

from pipeline.engine.folded import FoldedLog
from pipeline.views.train import TrainFold, smoothed
from screens import train_lines
from screens.feed import WorkspaceFeed
from screens.following import FollowingFrame
from screens.pane import Pane
from screens.widgets.chart import Chart, Series


class TrainScreen(FollowingFrame[TrainFold]):
    """Key 4."""

    called = "train"
    stages = ("train",)
    DEFAULT_CSS = """
    TrainScreen #loss { height: 1fr; min-height: 6; }
    TrainScreen #all { height: auto; max-height: 45%; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("m", "logarithmic", "Log scale", show=False),
        Binding("o", "overlay", "Another run's validations", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(TrainFold)
        self._over: FoldedLog[TrainFold] | None = None
        self._over_run = ""

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

    def action_overlay(self) -> None:
        """Lay the validations of the next other run over these; after the last one none."""
        others = self._others()
        at = others.index(self._over_run) + 1 if self._over_run in others else 0
        self._over_run = others[at] if at < len(others) else ""
        self._over = None
        if not others:
            self.console.say("no other run of this workspace has trained", "warning")
        elif self._over_run and isinstance(self.console.feed, WorkspaceFeed):
            path = self.console.feed.workspace.run(self._over_run).stage("train").progress
            self._over = FoldedLog(path, TrainFold)
            self.run_worker(self._read_over, thread=True)
        self._draw_current()

    def _others(self) -> list[str]:
        """Other runs with a training log, newest first."""
        feed, picture = self.console.feed, self.console.shown
        if not isinstance(feed, WorkspaceFeed) or picture.snapshot is None:
            return []
        names = [run.run_id for run in picture.runs if run.run_id != picture.snapshot.run_id]
        return [name for name in names if feed.workspace.run(name).stage("train").progress.is_file()]

    def _read_over(self) -> None:
        over = self._over
        while over is not None and over.read():
            pass
        self.app.call_from_thread(self._draw_current)

    def draw(self, folds: Sequence[TrainFold]) -> None:
        """Draw what is known."""
        fold = max(folds, key=lambda one: one.last or 0.0, default=TrainFold())
        now = time.time()
        self.query_one("#headline", Pane).show(train_lines.headline(fold, self.row, now))
        curves = train_lines.curves(fold) if fold.loss else []
        if self._over is not None:
            with self._over.lock:
                points = list(self._over.fold.val or smoothed(self._over.fold.loss))
            if points:
                curves.append(Series(self._over_run[-18:], points, "warning", "min"))
        self.query_one("#loss", Chart).show(curves)
        lines = train_lines.detail_lines(fold, self.size.width, self.console.glyphs)
        self.query_one("#detail", Pane).show(lines)

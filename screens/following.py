"""What screens of one stage's logs share: they follow the logs in a thread and draw what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from textual.binding import Binding
from textual.worker import Worker

from pipeline.engine.folded import Fold, FoldedLog
from pipeline.engine.snapshot import Row, RunSnapshot
from screens.feed import Picture
from screens.frame import Frame

F = TypeVar("F", bound=Fold)


class FollowingFrame(Frame, Generic[F]):
    """Follows the logs of one stage, one fold each."""

    BINDINGS: ClassVar[list[Any]] = [Binding("escape", "app.do('overview')", show=False)]

    #: Stages whose logs are meant, the preferred one first.
    stages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, make: Callable[[], F]) -> None:
        super().__init__()
        self._make = make
        self._logs: list[FoldedLog[F]] = []
        self._reading: Worker[None] | None = None
        self.row: Row | None = None

    def on_mount(self) -> None:
        """Follow four times a second; ages move once a second."""
        super().on_mount()
        self.set_interval(0.25, self._look)
        self.set_interval(1.0, self._draw_current)

    def show(self, picture: Picture) -> None:
        """Follow the run that the operator looks at now."""
        self.row = stage_row(picture.snapshot, self.console.stage, self.stages)
        paths = _progress_logs(self.row)
        if paths != [log.path for log in self._logs]:
            self._logs = [FoldedLog(path, self._make) for path in paths]
            self._look()
        self._draw()

    def draw(self, folds: Sequence[F]) -> None:
        """Draw what is known."""
        raise NotImplementedError

    def narrow(self, word: str) -> None:
        """Nothing to narrow, unless a screen has rows."""

    def _draw_current(self) -> None:
        if self.is_current and not self.console.paused:
            self._draw()

    def _draw(self) -> None:
        with self._held() as folds:
            self.draw(folds)

    @contextmanager
    def _held(self) -> Iterator[list[F]]:
        """The folds, while nobody changes them."""
        with ExitStack() as held:
            for log in self._logs:
                held.enter_context(log.lock)
            yield [log.fold for log in self._logs]

    def _look(self) -> None:
        """Read on in a thread, unless the last look still goes on."""
        busy = self._reading and not self._reading.is_finished
        if self._logs and self.is_current and not busy and not self.console.paused:
            self._reading = self.run_worker(self._read, thread=True)

    def _read(self) -> None:
        changed = [log.read() for log in list(self._logs)]
        if any(changed):
            self.app.call_from_thread(self._draw_current)


def stage_row(snapshot: RunSnapshot | None, chosen: str, stages: Sequence[str]) -> Row | None:
    """The selected stage if it is one of `stages`, else the first of them that has begun or is there."""
    rows = {row.stage: row for row in (snapshot.rows if snapshot else ())}
    meant = [rows[name] for name in stages if name in rows]
    if chosen in stages and chosen in rows:
        return rows[chosen]
    return next((row for row in meant if row.logs), meant[0] if meant else None)


def _progress_logs(row: Row | None) -> list[Path]:
    logs = [Path(log) for log in row.logs] if row else []
    named = [log for log in logs if log.name.startswith("progress")]
    return named or logs

"""All logs below some roots: reading them, knowing which changed, and their views.

Reading happens in one worker thread, views are asked for by others; a lock is held for one slice (some
milliseconds) at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from pipeline.engine import snapshots
from pipeline.engine.discover import Discovery, Skipped
from pipeline.engine.events import Batch, objects
from pipeline.engine.logview import LogView, view_of
from pipeline.engine.reduce import Reducer
from pipeline.engine.snapshots import SavedLog
from pipeline.engine.tail import Tail


class Log:
    """One log file: its tail and what its rows add up to."""

    __slots__ = ("path", "reducer", "resets", "root", "tail")

    def __init__(self, root: Path, path: PurePath) -> None:
        self.root = root
        self.path = path
        self.tail = Tail(root / path)
        self.reducer = Reducer()
        self.resets = 0

    def poll(self) -> tuple[bool, bool]:
        """Read one slice; returns (something changed, there is more)."""
        problem = self.tail.problem
        piece = self.tail.read()
        if piece is None:
            return problem != self.tail.problem, False
        if piece.reset:
            self.reducer = Reducer()
            self.resets += 1
        if piece.data:
            self.reducer.feed(Batch(piece.data))
        self.reducer.bad_lines += piece.oversize
        return True, piece.more

    def finish(self) -> None:
        """Also take in a last line that lacks only its newline; for readers that do not come back."""
        if not self.tail.pending:
            return
        rest = self.tail.remainder()
        if any(True for _ in objects(rest)):
            self.reducer.feed(Batch(rest + b"\n"))

    def save(self) -> SavedLog:
        """What a snapshot keeps."""
        return SavedLog(self.tail.position, self.reducer, self.resets)

    def restore(self, saved: SavedLog) -> None:
        """Go on from a snapshot; the first read finds out whether the file is still the same."""
        self.tail = Tail(self.tail.path, saved.position)
        self.reducer, self.resets = saved.reducer, saved.resets

    def view(self, *, curves: bool = False) -> LogView:
        """The log's view now."""
        tail = self.tail
        return view_of(
            self.reducer,
            self.path,
            self.root,
            size=tail.size,
            pending=tail.pending,
            resets=self.resets,
            problem=tail.problem,
            curves=curves,
        )


class Store:
    """The logs below one or more roots.

    Args:
        roots: directories or single files; one inside another is read once.
        remember: whether to start from snapshots and write them.
    """

    def __init__(self, roots: Iterable[Path], *, remember: bool = True) -> None:
        self.lock = threading.Lock()
        self.discoveries = [Discovery(root) for root in roots]
        self._remember = remember
        self._logs: dict[Path, Log] = {}
        self._saved = {d.root: snapshots.load(d.root) for d in self.discoveries} if remember else {}

    def discover(self) -> list[Log]:
        """Look for logs that are new; they are known from now on, and not yet read."""
        fresh = []
        for discovery in self.discoveries:
            for path in discovery.refresh():
                full = discovery.root / path
                if full not in self._logs:
                    fresh.append(self._open(discovery.root, path))
        return fresh

    def _open(self, root: Path, path: PurePath) -> Log:
        log = Log(root, path)
        raw = self._saved.get(root, {}).get(_key(path))
        saved = snapshots.unpack(raw) if raw is not None else None
        if saved is not None:
            log.restore(saved)
        with self.lock:
            self._logs[root / path] = log
        return log

    def poll(self, log: Log) -> tuple[bool, bool]:
        """`Log.poll` under the store's lock."""
        with self.lock:
            return log.poll()

    def catch_up(self) -> None:
        """Find and read everything there is now."""
        for log in self.discover():
            while self.poll(log)[1]:
                pass

    def __iter__(self) -> Iterator[Log]:
        with self.lock:
            return iter(list(self._logs.values()))

    def __len__(self) -> int:
        return len(self._logs)

    def views(self) -> list[LogView]:
        """Views of all logs, by root and path; without curves."""
        with self.lock:
            return [self._logs[path].view() for path in sorted(self._logs)]

    def view(self, path: Path) -> LogView | None:
        """The view of one log with its curves; None if the store does not know the file."""
        with self.lock:
            log = self._logs.get(path)
            return log.view(curves=True) if log is not None else None

    @property
    def texts(self) -> list[tuple[Path, PurePath]]:
        """(root, path) of the `*.log` files found."""
        return [(d.root, path) for d in self.discoveries for path in sorted(d.texts)]

    @property
    def skipped(self) -> list[Skipped]:
        """What was not read, and why."""
        return [entry for d in self.discoveries for entry in d.skipped]

    def remember(self) -> bool:
        """Write the snapshots; False if one could not be written."""
        if not self._remember:
            return False
        by_root: dict[Path, dict[str, SavedLog]] = {d.root: {} for d in self.discoveries}
        with self.lock:
            for log in self._logs.values():
                by_root[log.root][_key(log.path)] = log.save()
            written = [snapshots.save(root, logs) for root, logs in by_root.items()]
        return all(written)


def _key(path: PurePath) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")

"""Which files below a directory are logs, and which are not and why.

A `*.jsonl` file is an event log if its name says so (`progress*`, `*status*`, `*watch*`, `launch*`,
`events*`, `relay_*`, `chunk_transfer_*`) or if one of its first rows has an `event`. Data sets,
predictions and loss records are JSONL too; they have no events and are left alone. `*.log` files are
listed apart: they are text.

Symbolic links to directories are not followed, so there are no loops; links to files count when they stay
below the root. What cannot be read, or leaves the root, is recorded with its reason.
"""

from __future__ import annotations

import os
import re
import stat as stat_module
import time
from collections.abc import Iterator
from pathlib import Path, PurePath

import msgspec

from pipeline.engine.events import objects
from pipeline.engine.logview import printable

_LOG_NAME = re.compile(r"^(progress|launch|events|relay_|chunk_transfer_)|status|watch")
_PROBE_BYTES = 64 * 1024
_PROBE_LINES = 20

#: Directories that never hold logs of ours or anybody's runs, and can be very large.
_PASSED_OVER = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})

MAX_DEPTH = 32
MAX_DIRECTORIES = 100_000
MAX_SKIPPED = 1000

#: A directory changed this recently may change again without a newer time stamp, so it is read again.
_SETTLED_NS = 2_000_000_000


class Skipped(msgspec.Struct, frozen=True):
    """Something below the root that was not read, and why."""

    path: str
    reason: str


class Discovery:
    """Finds logs below one root, again and again, reading only directories that changed.

    Args:
        root: a directory, or a single file, which then is a log whatever its name.

    Attributes:
        root: the directory paths are relative to.
        texts: `*.log` files found so far.
        skipped: what was not read, and why; at most `MAX_SKIPPED`.
    """

    def __init__(self, root: Path) -> None:
        root = root.expanduser().absolute()
        self._single = root.name if os.path.isfile(root) else ""  # noqa: PTH113 - never raises
        self.root = root.parent if self._single else root
        self.texts: set[PurePath] = set()
        self._real = os.path.realpath(self.root)
        self._skipped: dict[str, str] = {}
        self._stamps: dict[PurePath, int] = {}
        self._below: dict[PurePath, list[PurePath]] = {}
        self._decided: set[PurePath] = set()
        self._undecided: set[PurePath] = set()

    @property
    def skipped(self) -> list[Skipped]:
        """What was not read, by path."""
        return [Skipped(path, reason) for path, reason in sorted(self._skipped.items())]

    def refresh(self) -> list[PurePath]:
        """Logs that were not known before, in order of their paths."""
        found: list[PurePath] = []
        if self._single:
            path = PurePath(self._single)
            if path not in self._decided:
                self._decided.add(path)
                (self.texts.add if path.suffix == ".log" else found.append)(path)
            return found
        for path in sorted(self._undecided):
            self._decide(path, found)
        for directory in self._changed():
            self._read(directory, found)
        return sorted(found)

    def _changed(self) -> Iterator[PurePath]:
        pending = [PurePath()]
        count = 0
        while pending:
            directory = pending.pop()
            count += 1
            if count > MAX_DIRECTORIES:
                self._skip(directory, f"more than {MAX_DIRECTORIES} directories")
                return
            try:
                stamp = os.stat(self.root / directory).st_mtime_ns  # noqa: PTH116 - called for every directory
            except OSError as error:
                self._skip(directory, _reason(error))
                self._stamps.pop(directory, None)
                continue
            if self._stamps.get(directory) != stamp:
                yield directory
                settled = time.time_ns() - stamp > _SETTLED_NS
                self._stamps[directory] = stamp if settled else -1
            pending.extend(self._below.get(directory, ()))

    def _read(self, directory: PurePath, found: list[PurePath]) -> None:
        below: list[PurePath] = []
        try:
            with os.scandir(self.root / directory) as entries:
                for entry in entries:
                    self._enter(directory / entry.name, entry, below, found)
        except OSError as error:
            self._skip(directory, _reason(error))
            return
        self._skipped.pop(printable(directory), None)
        self._below[directory] = below

    def _enter(
        self, path: PurePath, entry: os.DirEntry[str], below: list[PurePath], found: list[PurePath]
    ) -> None:
        if entry.is_dir(follow_symlinks=False):
            if entry.name in _PASSED_OVER:
                return
            if len(path.parts) > MAX_DEPTH:
                self._skip(path, f"deeper than {MAX_DEPTH} directories")
            else:
                below.append(path)
        elif path not in self._decided and self._is_candidate(path, entry):
            self._decide(path, found)

    def _is_candidate(self, path: PurePath, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink() and not self._stays_inside(path, entry):
            return False
        return path.suffix in (".jsonl", ".log")

    def _stays_inside(self, path: PurePath, entry: os.DirEntry[str]) -> bool:
        target = os.path.realpath(entry.path)
        if os.path.commonpath((target, self._real)) != self._real:
            self._skip(path, "symbolic link that leaves the root")
            return False
        return os.path.isfile(target)  # noqa: PTH113 - of a string

    def _decide(self, path: PurePath, found: list[PurePath]) -> None:
        self._undecided.discard(path)
        if path.suffix == ".log":
            self._decided.add(path)
            self.texts.add(path)
            return
        verdict = True if _LOG_NAME.search(path.name) else self._probe(path)
        if verdict is None:
            self._undecided.add(path)
            return
        self._decided.add(path)
        if verdict:
            found.append(path)

    def _probe(self, path: PurePath) -> bool | None:
        """Whether a file holds events; None while it has no whole line or cannot be read."""
        try:
            head = _head(self.root / path)
        except OSError as error:
            self._skip(path, _reason(error))
            return None
        self._skipped.pop(printable(path), None)
        lines = [line for line in head.split(b"\n")[:-1] if line.strip()]
        if not lines:
            return False if len(head) >= _PROBE_BYTES else None
        return any("event" in row for line in lines[:_PROBE_LINES] for row in objects(line))

    def _skip(self, path: PurePath, reason: str) -> None:
        if len(self._skipped) < MAX_SKIPPED:
            self._skipped[printable(path)] = reason


def _head(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat_module.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("not a regular file")
        return os.pread(fd, _PROBE_BYTES, 0)
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

"""The end of a text log: what an operator would see in a terminal, in bounded memory.

Progress bars overwrite their line with carriage returns, so one "line" of a log can hold thousands of
states and hundreds of kilobytes. Only the last state of a line counts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from pipeline.engine.logview import printable

#: Bytes read from the end of a file, whatever its size.
WINDOW = 64 * 1024

#: Characters of one line kept.
LINE_CHARS = 2000

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class TextLog(msgspec.Struct, frozen=True):
    """The end of one text log.

    Attributes:
        path: the file.
        size: its bytes.
        modified: when it last changed, Unix seconds.
        lines: its last lines, each in its last state, oldest first, without control characters.
        problem: why it cannot be read; empty if it can.
    """

    path: str
    size: int
    modified: float | None
    lines: tuple[str, ...]
    problem: str = ""


def read_end(path: Path, lines: int = 20) -> TextLog:
    """The last `lines` lines of a text log; never raises for what the file system does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            data = os.pread(fd, WINDOW, max(0, status.st_size - WINDOW))
        finally:
            os.close(fd)
    except OSError as error:
        return TextLog(printable(path), 0, None, (), (error.strerror or str(error)).lower())
    cut = status.st_size > WINDOW
    return TextLog(printable(path), status.st_size, status.st_mtime, tuple(_last_lines(data, lines, cut)))


def _last_lines(data: bytes, number: int, cut: bool) -> list[str]:
    pieces = data.split(b"\n")
    if cut and len(pieces) > 1:
        pieces = pieces[1:]  # the first began before the window
    shown = [text for piece in pieces if (text := _last_state(piece))]
    return shown[-number:]


def _last_state(line: bytes) -> str:
    state = next((part for part in reversed(line.split(b"\r")) if part.strip()), b"")
    text = _ESCAPES.sub("", state[-4 * LINE_CHARS :].decode("utf-8", "replace")).strip()
    return text if len(text) <= LINE_CHARS else "..." + text[-LINE_CHARS:]

"""The journal of a run: one line per operator command, who, when, what, with which result.

Several consoles may write at once, so each line is appended under a lock. Anything that looks like a
credential is replaced before it is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine import procfs
from pipeline.engine.claim import user
from pipeline.engine.errors import XopsError
from pipeline.engine.paths import RunPaths

#: Hub and GitHub tokens, AWS key ids, and `user:password` in an address.
_SECRET = re.compile(r"hf_\w{8,}|gh[pousr]_\w{20,}|AKIA[0-9A-Z]{16}|(?<=://)[^/@\s]+:[^/@\s]+(?=@)")
_SECRET_OPTION = re.compile(r"(?i)(-{0,2}[\w.-]*(?:token|passw(?:or)?d|secret|api[_-]?key)[\w.-]*)(=.*)?")

HIDDEN = "[hidden]"


class JournalLine(Struct, frozen=True, kw_only=True):
    """One line of `journal.jsonl`.

    Attributes:
        when: Unix seconds at the end of the command.
        who: `user@host`.
        verb: start, cancel, waive, ...
        stage: the stage it was about; empty for the whole run.
        argv: the command as typed, credentials hidden.
        result: `ok`, or the message of the error.
        detail: verb-specific facts.
    """

    when: float
    who: str
    verb: str
    stage: str = ""
    argv: tuple[str, ...] = ()
    result: str = "ok"
    detail: dict[str, Any] = {}


def operator() -> str:
    """Who is asking: `user@host`."""
    return f"{user()}@{procfs.host()}"


def redact(argv: Sequence[str]) -> tuple[str, ...]:
    """`argv` without credentials: values of options named like one, and strings shaped like one."""
    shown: list[str] = []
    hide_next = False
    for word in argv:
        match = _SECRET_OPTION.fullmatch(word)
        if hide_next:
            shown.append(HIDDEN)
        elif match and match[2]:
            shown.append(f"{match[1]}={HIDDEN}")
        else:
            shown.append(_SECRET.sub(HIDDEN, word))
        hide_next = not hide_next and bool(match and not match[2] and word.startswith("-"))
    return tuple(shown)


@contextmanager
def journalled(run: RunPaths, verb: str, *, stage: str = "", who: str = "") -> Iterator[dict[str, Any]]:
    """Write one line when the block ends, with the error if it raises one.

    Yields:
        The line's `detail`, to be filled by the block.
    """
    detail: dict[str, Any] = {}
    result = "ok"
    try:
        yield detail
    except XopsError as error:
        result = str(error)
        raise
    finally:
        line = {
            "when": time.time(),
            "who": who or operator(),
            "verb": verb,
            "stage": stage,
            "argv": redact(sys.argv),
            "result": result,
            "detail": detail,
        }
        text = _SECRET.sub(HIDDEN, json.dumps(line, ensure_ascii=False, default=str))
        _append(run.journal, text.encode("utf-8", "replace") + b"\n")


def read_journal(run: RunPaths) -> list[JournalLine]:
    """All readable lines, oldest first; damaged ones are left out."""
    try:
        lines = run.journal.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=JournalLine))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return found


def _append(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        torn = b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""
        os.write(fd, torn + line)
        os.fdatasync(fd)
    finally:
        os.close(fd)

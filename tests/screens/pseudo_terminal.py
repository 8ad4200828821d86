"""A terminal made of a pty and an emulator: what programs really send, and what a person would see."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte

#: Sequences that pyte does not know and would print.
_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*u|\x1b\[\?[0-9]+\$p")
_ROOT = str(Path(__file__).resolve().parents[2])
#: Variables that decide how a program shows itself; tests set them, the machine does not.
_DECIDING = (
    *("COLORTERM", "NO_COLOR", "TMUX", "STY", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"),
    *("XOPS_DISPLAY", "XOPS_GLYPHS", "TEXTUAL", "FORCE_COLOR", "TERM_PROGRAM"),
)


class Terminal:
    """Runs `argv` as the foreground job of a new terminal.

    Args:
        argv: the program.
        columns, rows: size of the terminal.
        env: variables to set; a value of None takes one away.
        answers: whether the terminal answers questions (cursor position, synchronised output).
        ignored: signals the program is started with ignored, as by nohup.
        before: what else to do in the child before the program starts.
        emulate: whether to keep a picture; without one, large outputs are read faster.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str | None] | None = None,
        answers: bool = True,
        ignored: Sequence[signal.Signals] = (),
        before: Callable[[], None] | None = None,
        emulate: bool = True,
    ) -> None:
        self.columns, self.rows, self.answers = columns, rows, answers
        self.data = bytearray()
        self._emulate = emulate
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._rest = b""
        self.master, slave = os.openpty()
        self._set_size()
        self.attributes = termios.tcgetattr(self.master)

        def child() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            if before is not None:
                before()

        self.started = time.monotonic()
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=_environment(env or {}),
            start_new_session=True,
            preexec_fn=child,  # noqa: PLW1509 - tests start programs from one thread
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a window manager does."""
        self.columns, self.rows = columns, rows
        self.screen.resize(rows, columns)
        self._set_size()

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self.rows, self.columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """Close the terminal's window."""
        os.close(self.master)
        self.master = -1

    def pump(
        self, seconds: float, until: Callable[[], bool] | None = None, *, rate: float | None = None
    ) -> bool:
        """Read what the program writes for `seconds`, or until a condition holds; return whether it did.

        Args:
            seconds: at most so long.
            until: checked after each read.
            rate: bytes per second the line takes; None for as fast as possible.
        """
        end = last = time.monotonic()
        end += seconds
        budget = 0.0
        while (now := time.monotonic()) < end:
            if rate is not None:
                budget, last = min(budget + (now - last) * rate, max(64.0, rate * 0.05)), now
                if budget < 32:
                    time.sleep(0.005)
                    continue
            ready, _, _ = select.select([self.master], [], [], min(0.02, end - now))
            if ready:
                try:
                    data = os.read(self.master, 65536 if rate is None else int(budget))
                except OSError:
                    return until is not None and until()
                budget -= len(data)
                self._take(data)
            if until is not None and until():
                return True
        return False

    def wait_for(self, text: str, seconds: float = 20.0, **options: Any) -> None:
        """Read until `text` is on the screen.

        Raises:
            AssertionError: it never came; the message shows the screen.
        """
        assert self.pump(seconds, lambda: text in self.text, **options), f"no {text!r} on:\n{self.text}"

    def wait(self, seconds: float = 10.0) -> int:
        """Read until the program ends; return its exit status."""
        if self.master >= 0:
            self.pump(seconds, lambda: self.process.poll() is not None)
            self.pump(0.1)
        return self.process.wait(seconds)

    def _take(self, data: bytes) -> None:
        self.data += data
        if self.answers:
            self._answer(data)
        if not self._emulate:
            return
        data = self._rest + data
        cut = data.rfind(b"\x1b", max(0, len(data) - 16))
        data, self._rest = (data[:cut], data[cut:]) if cut >= 0 and not _complete(data[cut:]) else (data, b"")
        self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))

    def _answer(self, data: bytes) -> None:
        seen = bytes(self.data[-len(data) - 12 :]) if len(self.data) > len(data) else data
        fresh = len(seen) - len(data)
        answers = {
            b"\x1b[?2026$p": b"\x1b[?2026;2$y",
            b"\x1b[?2048$p": b"\x1b[?2048;0$y",
            b"\x1b[6n": b"\x1b[5;5R",
        }
        for question, answer in answers.items():
            for match in re.finditer(re.escape(question), seen):
                if match.end() > fresh:
                    os.write(self.master, answer)

    @property
    def text(self) -> str:
        """What a person reads, one line per row."""
        rows = ([self.screen.buffer[y][x].data for x in range(self.columns)] for y in range(self.rows))
        return "\n".join("".join(row).rstrip() for row in rows)

    def cells(self) -> list[list[tuple[Any, ...]]]:
        """Character and look of every cell."""
        return [[_look(self.screen.buffer[y][x]) for x in range(self.columns)] for y in range(self.rows)]

    @property
    def restored(self) -> bool:
        """Whether the line settings are as before, the cursor shows and nothing private is left on."""
        if termios.tcgetattr(self.master) != self.attributes:
            return False
        return not modes_left_on(bytes(self.data)) and not self.screen.cursor.hidden

    def close(self) -> None:
        """Kill what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


def modes_left_on(data: bytes) -> set[str]:
    """Private modes (alternate screen, mouse, paste, focus) that were set and not reset."""
    on: set[str] = set()
    for number, action in re.findall(rb"\x1b\[\?([0-9]+)([hl])", data):
        (on.add if action == b"h" else on.discard)(number.decode())
    return on - {"7", "25"}


def colours(data: bytes) -> list[bytes]:
    """All SGR sequences that set a colour."""
    return [
        found
        for found in re.findall(rb"\x1b\[([0-9;:]*)m", data)
        if any(
            30 <= int(p) <= 48 or 90 <= int(p) <= 107 for p in re.split(rb"[;:]", found) if p and int(p) != 39
        )
    ]


def _look(char: Any) -> tuple[Any, ...]:
    return (
        char.data,
        char.fg,
        char.bg,
        char.bold,
        char.italics,
        char.underscore,
        char.reverse,
        char.strikethrough,
    )


def _complete(sequence: bytes) -> bool:
    """Whether an escape sequence at the end of a read is whole."""
    return re.match(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[^\[])", sequence) is not None


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in _DECIDING}
    env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor", "PYTHONPATH": _ROOT}
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env

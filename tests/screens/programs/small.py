"""A small console that can be told to misbehave: `small.py [trouble]`, see `on_mount`."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from screens.base import ConsoleApp, run_console


class Small(ConsoleApp):
    BINDINGS: ClassVar[Any] = [("q", "quit", "Leave"), ("k", "key", "Count")]

    def __init__(self, trouble: str, **options: Any) -> None:
        super().__init__(**options)
        self.trouble = trouble
        self.keys = 0
        self.ticks = 0
        self.gap = 0.0
        self.before = 0.0

    def compose(self) -> ComposeResult:
        yield Static("ready \u6f22\u5b57", id="first")
        yield Static("", id="second")

    def on_mount(self) -> None:
        if self.trouble == "busy":
            self.set_interval(0.05, self.repaint)
        elif self.trouble == "heartbeat":
            self.set_interval(0.05, self.beat)
        elif self.trouble == "crash":
            self.set_timer(0.2, self.crash_now)
        elif self.trouble == "blocked":
            self.set_timer(0.3, lambda: time.sleep(60))
        elif self.trouble == "thread":
            threading.Thread(target=time.sleep, args=(60,)).start()

    def repaint(self) -> None:
        self.ticks += 1
        self.query_one("#second", Static).update(
            "\n".join(str(self.ticks) * 40 for _ in range(self.size.height))
        )

    def beat(self) -> None:
        now = time.monotonic()
        self.gap = max(self.gap, now - (self.before or now))
        self.before = now
        self.repaint()
        Path(sys.argv[2]).write_text(f"{self.ticks} {self.gap}\n")

    def crash_now(self) -> None:
        token = "hf_abcdefghijklmnopqrstuvwxyz"  # noqa: F841 - must not be printed
        raise ValueError("cannot read hf_abcdefghijklmnopqrstuvwxyz01 of \x1b]0;evil\x07 this")

    def action_key(self) -> None:
        self.keys += 1
        self.query_one("#first", Static).update(f"keys={self.keys}.")

    def status_line(self) -> str:
        return "small status"


if __name__ == "__main__":
    sys.exit(run_console(Small(sys.argv[1] if len(sys.argv) > 1 else "")))

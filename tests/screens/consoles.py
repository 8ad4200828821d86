"""Consoles for tests: on real run directories of the toy stages, and on pictures held still."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.app import App
from textual.pilot import Pilot

from pipeline.engine.paths import RunPaths
from pipeline.engine.snapshot import RunSnapshot, take_snapshot
from pipeline.engine.watch import open_store
from screens.app import Console
from screens.feed import Feed, Picture, WorkspaceFeed
from screens.pane import Pane
from screens.terminal.display import Capabilities, Colour, Display
from screens.terminal.glyphs import ASCII, BRAILLE

_CONFTEST = Path(__file__).parents[1] / "engine" / "conftest.py"
_spec = importlib.util.spec_from_file_location("engine_conftest", _CONFTEST)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["engine_conftest"] = _module
_spec.loader.exec_module(_module)
lab = _module.lab

from lab import Lab  # noqa: E402 - beside the toys, whose conftest put them on the path

RICH = Capabilities(Display.FULL, Colour.TRUE, BRAILLE)
PLAIN = Capabilities(Display.FULL, Colour.MONO, ASCII)

__all__ = [
    "PLAIN",
    "RICH",
    "Lab",
    "StillFeed",
    "console",
    "lab",
    "settle",
    "shown",
    "snapshot",
    "still",
    "text",
]


class StillFeed(Feed):
    """Shows one picture for ever."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self.picture = picture

    @property
    def root(self) -> Path:
        """Some directory."""
        return Path("workspace")

    def look(self, *, now: bool = False) -> Picture:
        """The same again."""
        return self.picture


def console(lab: Lab, run: RunPaths | None = None, **options: Any) -> Console:
    """The console on a workspace of toys."""
    feed = WorkspaceFeed(lab.workspace, lab.registry, run.run_id if run else "")
    return Console(feed, capabilities=options.pop("capabilities", RICH), **options)


def snapshot(lab: Lab, run: RunPaths) -> RunSnapshot:
    """A run as it is now, its logs read to the end."""
    store = open_store([run.root])
    store.catch_up()
    return take_snapshot(run, lab.registry, store.view)


def still(found: RunSnapshot) -> RunSnapshot:
    """The same run without what differs from one test run to the next: ids, hosts, times, disks."""
    raw = msgspec.json.encode(found).decode().replace(found.run_id, "20260101-000000-toy-0000")
    value = msgspec.json.decode(raw)
    _freeze(value)
    return msgspec.convert(value, RunSnapshot)


def _freeze(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _freeze(item)
    elif isinstance(value, dict):
        fixed: dict[str, Any] = {
            "host": "host",
            "disks": [],
            "started": None,
            "ended": None,
            "logs": [],
            "rate": None,
            "eta_s": None,
        }
        value.update({key: new for key, new in fixed.items() if key in value})
        if value.get("last_time") is not None:
            value["last_time"] = 4e9  # not yet: its age is 0 s
        for item in value.values():
            _freeze(item)


def text(app: Console, pane: str) -> str:
    """What a pane of the top screen says."""
    return app.screen.query_one(f"#{pane}", Pane).text


def shown(app: App[Any]) -> str:
    """The whole screen as text."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def settle(pilot: Pilot[Any], condition: Callable[[], Any], what: str, limit_s: float = 60.0) -> None:
    """Let the app run until the condition holds; a test fails only if it never does."""
    for _ in range(int(limit_s / 0.05)):
        await pilot.pause()
        if condition():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"never happened: {what}\n{shown(pilot.app)}")

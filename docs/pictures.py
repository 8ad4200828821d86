"""Draws the pictures in `docs/pictures/` from a demo run: `python docs/pictures.py`.

They are the console itself on real run directories, so they stay true; run it after a screen has changed.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from console import demo
from pipeline.engine import operations
from pipeline.engine.registry import load_registry
from screens.app import Console
from screens.feed import WorkspaceFeed
from screens.terminal.display import Capabilities, Colour, Display
from screens.terminal.glyphs import BRAILLE

PICTURES = Path(__file__).parent / "pictures"
SIZE = (110, 24)

#: name of the picture -> keys pressed before it is taken
SHOTS = {
    "overview": (),
    "plan": ("escape", "d"),
    "help": ("escape", "?"),
    "runs": ("escape", "9"),
    "log": ("0",),
    "relay": ("escape", "2"),
    "transfer": ("3",),
}


def main() -> None:
    """Run the demo twice, the first time only as far as its selection, and photograph the console on it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = str(Path(folder) / "state")
        workspace, registry = demo.prepare(Path(folder) / "demo"), load_registry()
        try:
            for until in ("select", ""):
                run = demo.create(workspace, registry)
                operations.start(run, registry, until=until)
                operations.wait(run, registry, timeout_s=120)
            feed = WorkspaceFeed(workspace, registry, run.run_id)
            asyncio.run(_photograph(Console(feed, capabilities=_terminal())))
        finally:
            demo.stop_services(workspace)


def _terminal() -> Capabilities:
    return Capabilities(Display.FULL, Colour.TRUE, BRAILLE)


async def _photograph(app: Console) -> None:
    PICTURES.mkdir(exist_ok=True)
    async with app.run_test(size=SIZE) as pilot:
        while not app.shown.ready:
            await pilot.pause(0.1)
        for name, keys in SHOTS.items():
            await pilot.press(*keys)
            await pilot.pause(1.0)
            (PICTURES / f"{name}.svg").write_text(app.export_screenshot(title="xops"), "utf-8")


if __name__ == "__main__":
    main()

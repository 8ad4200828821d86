"""Draws the pictures in `docs/pictures/` from demo runs: `python docs/pictures.py [WORKSPACE]`.

Without a workspace the demo is run to its end, and once more with a shorter training, to compare with.

They are the console itself on real run directories, so they stay true; run it after a screen has changed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from console import demo
from pipeline.engine import operations
from pipeline.engine.paths import WorkspacePaths
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
    "train": ("escape", "4"),
    "eval": ("5",),
    "gates": ("6",),
    "compare": ("7",),
    "publish": ("8",),
}


def main() -> None:
    """Photograph the console on two finished demo runs, made here unless a workspace of such is named."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = str(Path(folder) / "state")
        workspace = WorkspacePaths(Path(sys.argv[1]).absolute()) if sys.argv[1:] else _demos(Path(folder))
        feed = WorkspaceFeed(workspace, load_registry(), workspace.list_runs()[0].run_id)
        asyncio.run(_photograph(Console(feed, capabilities=_terminal())))


def _demos(folder: Path) -> WorkspacePaths:
    workspace, registry = demo.prepare(folder / "demo"), load_registry()
    try:
        for epochs in (5, 2):
            run = demo.create(workspace, registry, train={"epochs": epochs})
            operations.start(run, registry)
            demo.follow(run, registry, print)
            while demo.sign_what_waits(run, registry, print):
                operations.start(run, registry)
                demo.follow(run, registry, print)
    finally:
        demo.stop_services(workspace)
    return workspace


def _terminal() -> Capabilities:
    return Capabilities(Display.FULL, Colour.TRUE, BRAILLE)


async def _photograph(app: Console) -> None:
    PICTURES.mkdir(exist_ok=True)
    async with app.run_test(size=SIZE) as pilot:
        while not app.shown.ready:
            await pilot.pause(0.1)
        for name, keys in SHOTS.items():
            await pilot.press(*keys)
            await pilot.pause(2.0)
            (PICTURES / f"{name}.svg").write_text(app.export_screenshot(title="xops"), "utf-8")


if __name__ == "__main__":
    main()

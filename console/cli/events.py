"""`xops events`: the events of a run, as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import Json, RunId, find_run
from console.output import emit_text
from pipeline.engine.paths import RunPaths

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

#: Most seconds between looks at the files; a network mount gives no other hint.
POLL_S = 0.25

_BLOCK = 1 << 18


@app.callback()
def events() -> None:
    """Follow the events of a run."""


@app.command()
def tail(
    run: RunId,
    stage: Annotated[str, typer.Option("--stage", help="Only this stage.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    json: Json = False,
) -> None:
    """Print every event line of a run: with --json as it is in the file, else shortened for people."""
    found = find_run(run)
    offsets: dict[Path, int] = {}
    for _ in _moments(found.stages) if follow else [None]:
        for path in _logs(found, stage):
            _print_new(path, offsets, found.root, json=json)
        sys.stdout.flush()


def _moments(folder: Path) -> Iterator[None]:
    """Now, and whenever something below `folder` may have changed; at the latest every `POLL_S` seconds."""
    from watchfiles import watch

    yield None
    for _ in watch(folder, step=50, rust_timeout=int(POLL_S * 1000), yield_on_timeout=True):
        yield None
    raise KeyboardInterrupt  # watchfiles swallows it, and whoever typed it expects status 130


def _logs(run: RunPaths, stage: str) -> list[Path]:
    """Engine and domain logs of the run's stages and shards, in name order."""
    root = run.stage(stage).root if stage else run.stages
    names = ("events.jsonl", "progress*.jsonl")
    return sorted(path for name in names for path in root.rglob(name) if "attempts" not in path.parts)


def _print_new(path: Path, offsets: dict[Path, int], root: Path, *, json: bool) -> None:
    """Print whole lines added since the last look; a half line waits for its end."""
    try:
        with path.open("rb") as file:
            file.seek(offsets.get(path, 0))
            while data := file.read(_BLOCK):
                whole = data[: data.rfind(b"\n") + 1] or (data if len(data) == _BLOCK else b"")
                if not whole:
                    return
                offsets[path] = offsets.get(path, 0) + len(whole)
                file.seek(offsets[path])
                _print_lines(whole, path.relative_to(root), json=json)
    except FileNotFoundError:
        offsets.pop(path, None)


def _print_lines(data: bytes, where: Path, *, json: bool) -> None:
    if json:
        sys.stdout.write(data.decode("utf-8", "replace"))
        return
    for line in data.splitlines():
        emit_text(f"{where}  {line[:1000].decode('utf-8', 'replace')}")

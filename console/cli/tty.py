"""`xops tty-reset`: bring back a terminal that a killed program left in raw mode."""

from __future__ import annotations

import sys

import typer

from console.cli.common import DryRun, Json
from console.output import emit_json
from pipeline.engine.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def tty_reset(json: Json = False, dry_run: DryRun = False) -> None:
    """Turn echo, line mode and the cursor back on; leave the alternate screen and mouse reports."""
    import subprocess

    if not sys.stderr.isatty() or not sys.stdin.isatty():
        raise UsageError(
            "no terminal here to reset", hint="type it in the broken terminal: xops tty-reset, then enter"
        )
    if not dry_run:
        from screens.terminal.writer import RESET

        subprocess.run(["stty", "sane"], stdin=sys.stdin, check=False)
        sys.stderr.write(RESET)
        sys.stderr.flush()
    if json:
        emit_json({"reset": not dry_run})

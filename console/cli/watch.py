"""`xops watch`: any directory of progress logs, ours or foreign."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table, emit_text

if TYPE_CHECKING:
    from pipeline.engine.watch import Summary

app = typer.Typer(rich_markup_mode=None)


@app.command()
def watch(
    paths: Annotated[list[Path], typer.Argument(help="Directories or files of progress logs.")],
    once: Annotated[bool, typer.Option("--once", help="Read once, print a summary and exit.")] = False,
    json: Json = False,
) -> None:
    """Follow progress logs in the console; with --json as JSON lines; with --once only summarise them."""
    if once:
        _once(paths, json=json)
    elif json:
        _follow(paths)
    else:
        from console.open import open_console

        raise typer.Exit(open_console(display="auto", read_only=True, roots=paths))


def _once(paths: list[Path], *, json: bool) -> None:
    from pipeline.engine.watch import open_store, summarise, summary_of

    if json:
        emit_json(summarise(paths))
        return
    store = open_store(paths)
    store.catch_up()
    for log in store:
        log.finish()
    _print_summary(summary_of(store))


def _print_summary(summary: Summary) -> None:
    rows = [
        (
            log.path,
            log.family,
            log.terminal,
            f"{log.done:g}/{'?' if log.total is None else format(log.total, 'g')}"
            if log.done is not None
            else "-",
            log.unit,
            log.attempts,
            log.last_loss,
            f"copy of {log.duplicate_of}" if log.duplicate_of else log.last_event,
        )
        for log in summary.logs
    ]
    columns = ["log", "family", "end", "done", "unit", "attempts", "loss", "last event"]
    emit_table(columns, rows, empty="no event logs there; xops reads *.jsonl files whose rows have an event")
    for skipped in summary.skipped:
        emit_text(f"skipped {skipped.path}: {skipped.reason}")


def _follow(paths: list[Path]) -> None:
    """One JSON line per changed log, for ever."""
    from pipeline.engine.follow import TICK_S, Follower
    from pipeline.engine.watch import open_store

    open_store(paths)  # a path that does not exist is named before anything is followed
    with Follower(paths) as follower:
        while True:
            changes = follower.poll()
            for path in changes.changed:
                emit_json(follower.store.view(path))
            if changes.caught_up:
                time.sleep(TICK_S)

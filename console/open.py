"""Opening the console on a workspace or on foreign logs, in whatever way this terminal allows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from console.output import emit_json, emit_table, emit_text
from pipeline.engine.config import UiConfig, find_workspace, load_config
from pipeline.engine.errors import ConfigError, ExitCode
from pipeline.engine.registry import load_registry
from pipeline.engine.snapshot import Row, RunSnapshot
from screens.feed import LOOK_S, Feed, ForeignFeed, Picture, WorkspaceFeed
from screens.terminal.display import Capabilities, Display, Surroundings, choose
from screens.terminal.glyphs import SETS
from screens.terminal.themes import THEMES


def open_console(display: str = "auto", read_only: bool = False, roots: Sequence[Path] = ()) -> int:
    """Show the workspace here, or the logs below `roots`, until the operator leaves.

    Args:
        display: `full`, `inline`, `plain`, `jsonl`, `none`, or `auto` for the best this terminal can do.
        read_only: refuse every act.
        roots: foreign trees of logs, shown in the place of a workspace; always read-only.

    Returns:
        The exit status.

    Raises:
        NotFoundError: there is no workspace here, or one of the roots does not exist.
        UsageError: the display is none we know.
    """
    capabilities = choose(Surroundings.observe(), None if display == "auto" else display)
    if capabilities.display is Display.NONE:
        return ExitCode.OK
    feed = _feed(roots)
    if capabilities.display in (Display.FULL, Display.INLINE):
        return _full(feed, capabilities, read_only=read_only)
    feed.start()
    try:
        _lines(feed, json=capabilities.display is Display.JSONL)
    finally:
        feed.stop()
    return ExitCode.OK


def _feed(roots: Sequence[Path]) -> Feed:
    if roots:
        return ForeignFeed(roots)
    return WorkspaceFeed(find_workspace(), load_registry())


def _full(feed: Feed, capabilities: Capabilities, *, read_only: bool) -> int:
    from screens.app import Console
    from screens.base import run_console

    ui = _preferences(feed)
    if ui.glyphs != "auto":
        capabilities = replace(capabilities, glyphs=SETS[ui.glyphs])
    app = Console(
        feed,
        read_only=read_only,
        capabilities=capabilities,
        theme=None if ui.theme == "auto" else ui.theme,
        frame_hz=ui.frame_hz,
    )
    return run_console(app, inline=capabilities.display is Display.INLINE)


def _preferences(feed: Feed) -> UiConfig:
    """What the configuration says of the console; a theme nobody knows is named."""
    workspace = feed.workspace if isinstance(feed, WorkspaceFeed) else None
    ui = load_config(workspace).values.ui
    if ui.theme != "auto" and ui.theme not in THEMES:
        raise ConfigError(f"no theme {ui.theme!r}", hint=f"ui.theme is one of: auto, {', '.join(THEMES)}")
    return ui


def _lines(feed: Feed, *, json: bool) -> None:
    """The overview once, then every change as a line, until nothing runs any more."""
    last: RunSnapshot | None = None
    for picture in _pictures(feed):
        if picture.problem:
            sys.stderr.write(f"xops: {picture.problem}\n")
        snapshot = picture.snapshot
        if json:
            emit_json(picture if snapshot is None else snapshot)
        elif last is None or snapshot is None or last.run_id != snapshot.run_id:
            _print_table(snapshot)
        else:
            _print_changes(last, snapshot)
        sys.stdout.flush()
        last = snapshot
        if snapshot is None or not _busy(snapshot):
            return


def _busy(snapshot: RunSnapshot) -> bool:
    """Whether something runs, or somebody is about to start what follows."""
    return bool(snapshot.conductor) or any(row.status.state.active for row in snapshot.rows)


def _pictures(feed: Feed) -> Iterator[Picture]:
    """Each picture that differs from the one before."""
    shown: Picture | None = None
    while True:
        picture = feed.picture
        if picture.ready and picture is not shown:
            shown = picture
            yield picture
        time.sleep(LOOK_S)


def _print_table(snapshot: RunSnapshot | None) -> None:
    if snapshot is None:
        emit_text("no run yet; make one with: xops run new RECIPE")
        return
    emit_text(f"run {snapshot.run_id}  {snapshot.recipe} {snapshot.kind}".rstrip())
    columns = ["stage", "state", "gate", "done", "attempt", "why"]
    rows = [
        (
            row.stage,
            row.status.state,
            row.status.verdict,
            _done(row),
            len(row.status.attempts),
            row.status.reason,
        )
        for row in snapshot.rows
    ]
    emit_table(columns, rows, empty="the run has no stages")
    for need in snapshot.needs_human:
        emit_text(f"needs a human: {need.stage}: {need.sentence}")


def _print_changes(last: RunSnapshot, snapshot: RunSnapshot) -> None:
    for row in snapshot.rows:
        before = last.row(row.stage)
        if before is None or (before.status.state, before.done) != (row.status.state, row.done):
            clock = time.strftime("%H:%M:%S")
            emit_text(f"{clock} {row.stage} {row.status.state} {_done(row)} {row.status.reason}".rstrip())


def _done(row: Row) -> str:
    if row.done is None:
        return "-"
    return f"{row.done:g}/{'?' if row.total is None else format(row.total, 'g')} {row.unit}".rstrip()

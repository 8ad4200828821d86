"""`xops handover`: the note for whoever comes next."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.common import Json, find_run, workspace_here
from console.output import emit_json, emit_text
from pipeline.engine.claim import spoken_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.engine.digest import Happening
    from pipeline.engine.snapshot import Row, RunSnapshot

app = typer.Typer(rich_markup_mode=None)

HOURS = 24.0


@app.command()
def handover(
    run: Annotated[str, typer.Argument(help="Run; by default every run with something to tell.")] = "",
    hours: Annotated[float, typer.Option(help="How far back it goes.")] = HOURS,
    json: Json = False,
) -> None:
    """Write the handover note as Markdown: done, running, waiting for a person, what happened."""
    from pipeline.engine.digest import digest_since
    from pipeline.engine.errors import XopsError
    from pipeline.engine.registry import load_registry
    from pipeline.engine.snapshot import take_snapshot
    from pipeline.engine.status import read_run
    from pipeline.engine.store import Store

    workspace, registry = workspace_here(), load_registry()
    since = time.time() - hours * 3600
    notes: list[dict[str, Any]] = []
    for paths in [find_run(run, workspace)] if run else workspace.list_runs():
        store = Store([paths.root], remember=False)
        store.catch_up()
        try:
            snapshot = take_snapshot(paths, registry, store.view)
            happenings = digest_since(paths, read_run(paths, registry), since).happenings
        except XopsError as error:
            notes.append(
                {"run_id": paths.run_id, "problem": str(error), "text": [f"cannot be read: {error}"]}
            )
            continue
        active = any(row.status.state.active for row in snapshot.rows)
        if run or happenings or active or snapshot.needs_human:
            text = list(_note(snapshot, happenings))
            notes.append({"run_id": paths.run_id, "text": text, "snapshot": snapshot})
    if json:
        emit_json({"hours": hours, "runs": notes})
        return
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    emit_text(f"# Handover {when}")
    for note in notes:
        emit_text(f"\n## {note['run_id']}\n")
        emit_text("\n".join(f"- {line}" for line in note["text"]))
    if not notes:
        emit_text(f"\nNothing runs and nothing happened in the last {hours:g} h.")


def _note(snapshot: RunSnapshot, happenings: tuple[Happening, ...]) -> Iterator[str]:
    done = [row.stage for row in snapshot.rows if row.status.done]
    yield f"done: {', '.join(done) or 'nothing yet'}"
    for row in snapshot.rows:
        if row.status.state.active:
            yield f"running: {row.stage}, {row.status.state.value}{_how_far(row)}"
    for need in snapshot.needs_human:
        yield f"needs a person: {need.sentence}: {shlex.join(need.argv)}"
    for happening in happenings:
        clock = datetime.fromtimestamp(happening.when, UTC).strftime("%m-%d %H:%M")
        yield f"{clock} {happening.sentence}"


def _how_far(row: Row) -> str:
    if row.done is None:
        return ""
    of = "" if row.total is None else f" of {row.total:g}"
    left = "" if row.eta_s is None else f", about {spoken_seconds(row.eta_s)} left"
    return f", {row.done:g}{of} {row.unit}{left}"

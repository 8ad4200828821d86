"""`xops handover`: the note for whoever comes next."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.common import Json, find_run, workspace_here
from console.output import emit_json, emit_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.engine.journal import JournalLine
    from pipeline.engine.status import RunStatus

app = typer.Typer(rich_markup_mode=None)

HOURS = 24.0


@app.command()
def handover(
    run: Annotated[str, typer.Argument(help="Run; by default every run with something to tell.")] = "",
    hours: Annotated[float, typer.Option(help="How far back the commands go.")] = HOURS,
    json: Json = False,
) -> None:
    """Write the handover note as Markdown: done, running, waiting for a person, what was commanded."""
    from pipeline.engine.errors import XopsError
    from pipeline.engine.journal import read_journal
    from pipeline.engine.registry import load_registry
    from pipeline.engine.status import read_run

    workspace, registry = workspace_here(), load_registry()
    since = time.time() - hours * 3600
    notes: list[dict[str, Any]] = []
    for paths in [find_run(run, workspace)] if run else workspace.list_runs():
        try:
            status = read_run(paths, registry)
        except XopsError as error:
            notes.append(
                {"run_id": paths.run_id, "problem": str(error), "text": [f"cannot be read: {error}"]}
            )
            continue
        commands = [line for line in read_journal(paths) if line.when >= since]
        active = any(stage.state.active for stage in status.stages)
        if run or commands or active:
            notes.append({"run_id": paths.run_id, "text": list(_note(status, commands)), "status": status})
    if json:
        emit_json({"hours": hours, "runs": notes})
        return
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    emit_text(f"# Handover {when}")
    for note in notes:
        emit_text(f"\n## {note['run_id']}\n")
        emit_text("\n".join(f"- {line}" for line in note["text"]))
    if not notes:
        emit_text(f"\nNothing ran and nothing was commanded in the last {hours:g} h.")


def _note(status: RunStatus, commands: list[JournalLine]) -> Iterator[str]:
    done = [stage.stage for stage in status.stages if stage.done]
    yield f"done: {', '.join(done) or 'nothing yet'}"
    for stage in status.stages:
        if stage.state.active:
            yield f"running: {stage.stage}, {stage.state.value}"
        elif stage.state.resumable:
            last = stage.attempts[-1].message if stage.attempts else ""
            yield f"needs a person: {stage.stage} {stage.state.value}; {last or stage.reason}"
        elif stage.verdict is not None and not stage.verdict.open:
            yield f"needs a person: gate of {stage.stage} is {stage.verdict.value}"
    for line in commands:
        clock = datetime.fromtimestamp(line.when, UTC).strftime("%m-%d %H:%M")
        yield f"{clock} {line.who}: {line.verb} {line.stage} ({line.result})"

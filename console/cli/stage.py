"""`xops stage`: look into one stage of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.common import Json, RunId, find_run
from console.output import emit_json, emit_table, emit_text
from pipeline.engine.errors import NotFoundError

if TYPE_CHECKING:
    from pipeline.engine.state import StageStatus

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

StageName = Annotated[str, typer.Argument(help="Stage of the run.")]


@app.command()
def show(run: RunId, stage: StageName, json: Json = False) -> None:
    """Show one stage: state, every attempt with its end, gate, holder."""
    from pipeline.engine.registry import load_registry
    from pipeline.engine.status import read_run

    status = read_run(find_run(run), load_registry()).stage(stage)
    if json:
        emit_json(status)
        return
    emit_text(f"{status.stage}: {status.state.value}{'; ' + status.reason if status.reason else ''}")
    _print_attempts(status)
    if status.gate is not None:
        emit_text(f"gate: {status.gate.verdict.value}")


@app.command()
def log(
    run: RunId,
    stage: StageName,
    attempt: Annotated[int, typer.Option(help="Number of the attempt; 0 is the last.")] = 0,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")] = 100,
    json: Json = False,
) -> None:
    """Print the end of what an attempt wrote to its terminal."""
    from pipeline.engine.textlog import read_end

    paths = find_run(run).stage(stage)
    attempts = paths.list_attempts()
    chosen = [a for a in attempts if a.number == attempt] if attempt else attempts[-1:]
    if not chosen:
        raise NotFoundError(
            f"{stage} has no attempt {attempt or ''}".strip(), hint=f"xops stage show {run} {stage}"
        )
    if not chosen[0].stdout.is_file():
        raise NotFoundError(f"attempt {chosen[0].number} of {stage} wrote no log")
    end = read_end(chosen[0].stdout, lines)
    if json:
        emit_json(end)
    else:
        for line in end.lines:
            emit_text(line)


def _print_attempts(status: StageStatus) -> None:
    from datetime import UTC, datetime

    def clock(when: float | None) -> str:
        return "-" if when is None else datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%SZ")

    rows = [
        (a.number, clock(a.started), clock(a.ended), a.outcome or "-", a.message) for a in status.attempts
    ]
    emit_table(["attempt", "started", "ended", "outcome", "message"], rows, empty="no attempt yet")

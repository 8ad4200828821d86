"""`xops gate`: look at gates, waive them, sign them."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.common import DryRun, Json, RunId, Yes, confirm, find_run
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Why = Annotated[str, typer.Option("--why", help="The reason; it is kept with the gate and in the journal.")]
StageName = Annotated[str, typer.Argument(help="Stage whose gate it is.")]


@app.command("ls")
def list_(run: RunId, json: Json = False) -> None:
    """List the gates of a run with their verdicts."""
    from pipeline.engine.registry import load_registry
    from pipeline.engine.status import read_run

    registry = load_registry()
    rows = []
    for status in read_run(find_run(run), registry).stages:
        question = registry.stage(status.stage).gate
        if question or status.gate:
            rows.append(
                (status.stage, status.gate.verdict.value if status.gate else "not evaluated", question)
            )
    if json:
        emit_json({"gates": [{"stage": s, "verdict": v, "question": q} for s, v, q in rows]})
    else:
        emit_table(["stage", "verdict", "question"], rows, empty="no stage of this run has a gate")


@app.command()
def show(run: RunId, stage: StageName, json: Json = False) -> None:
    """Show the checks of one gate with their evidence, and every decision ever made on it."""
    from pipeline.engine.errors import NotFoundError
    from pipeline.engine.registry import load_registry
    from pipeline.engine.status import read_run

    gate = read_run(find_run(run), load_registry()).stage(stage).gate
    if gate is None:
        raise NotFoundError(f"the gate of {stage} has not been evaluated", hint=f"xops run plan {run}")
    if json:
        emit_json({"verdict": gate.verdict.value, "digest": gate.digest, "record": gate})
        return
    emit_text(f"{stage}: {gate.verdict.value}")
    answers = {True: "pass", False: "fail", None: "wants a signature"}
    emit_table(
        ["answer", "check", "found"],
        [(answers[c.ok], c.name, c.detail) for c in gate.checks],
        empty="no checks",
    )
    for made in gate.decisions:
        age = "" if made.digest == gate.digest else " (about older evidence)"
        emit_text(f"{made.kind} by {made.who}: {made.why}{age}")


@app.command()
def waive(
    run: RunId, stage: StageName, why: Why, json: Json = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Let what follows start although the gate is closed; for exactly this evidence, on the record."""
    from pipeline.engine.decisions import waive as do_waive
    from pipeline.engine.registry import load_registry

    if not dry_run:
        confirm(f"Waive the gate of {stage}?", yes=yes)
    act = do_waive(find_run(run), load_registry(), stage, why=why, dry_run=dry_run)
    emit_json(act) if json else emit_text(act.message)


@app.command()
def sign(
    run: RunId,
    stage: StageName,
    why: Why,
    evidence: Annotated[
        str, typer.Option(help="Digest of the checks you saw; refused if they changed.")
    ] = "",
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Confirm, as a person, what the gate cannot decide by itself."""
    from pipeline.engine.decisions import sign as do_sign
    from pipeline.engine.registry import load_registry

    act = do_sign(find_run(run), load_registry(), stage, why=why, evidence=evidence, dry_run=dry_run)
    emit_json(act) if json else emit_text(act.message)

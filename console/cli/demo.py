"""`xops demo`: the embedded pipeline, in the console or headless."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.common import DryRun, Json
from console.output import emit_json, emit_text

if TYPE_CHECKING:
    from pipeline.engine.paths import RunPaths, WorkspacePaths
    from pipeline.engine.registry import Registry

app = typer.Typer(rich_markup_mode=None)


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where its workspace is made.")] = Path(
        "xops-demo"
    ),
    headless: Annotated[
        bool, typer.Option("--headless", help="Run to the end here, without the console.")
    ] = False,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Run a generated dataset through every stage there is, with its own Hub and host; no network."""
    from console import demo as embedded
    from pipeline.engine.registry import load_registry

    registry = load_registry()
    if dry_run:
        stages = [stage.name for stage in registry.ordered(registry.recipe(embedded.RECIPE))]
        plan = {"workspace": directory.absolute(), "stages": stages, "dry_run": True}
        emit_json(plan) if json else emit_text(f"would run {', '.join(stages)} in {directory.absolute()}")
        return
    workspace = embedded.prepare(directory)
    run = embedded.create(workspace, registry)
    if headless or json:
        _headless(workspace, run, registry, json=json)
        return
    import os

    from console.open import open_console
    from pipeline.engine.operations import start

    start(run, registry)
    os.environ["XOPS_WORKSPACE"] = str(workspace.root)
    raise typer.Exit(open_console())


def _headless(workspace: WorkspacePaths, run: RunPaths, registry: Registry, *, json: bool) -> None:
    from console import demo as embedded
    from console.cli.run import outcome
    from console.diagnostics import say
    from pipeline.engine.errors import ExitCode
    from pipeline.engine.operations import start
    from pipeline.engine.status import read_run

    say(f"run {run.run_id} in {workspace.root}")
    try:
        start(run, registry)
        embedded.follow(run, registry, say)
        while embedded.sign_what_waits(run, registry, say):
            if outcome(read_run(run, registry)) is ExitCode.NOT_READY:
                start(run, registry)
                embedded.follow(run, registry, say)
    finally:
        embedded.stop_services(workspace)
    status = read_run(run, registry)
    if json:
        emit_json(status)
    else:
        for stage in status.stages:
            verdict = stage.gate.verdict.value if stage.gate else "-"
            emit_text(f"{stage.stage}: {stage.state.value}, gate {verdict}, {len(stage.attempts)} attempt(s)")
    raise typer.Exit(int(outcome(status)))

"""`xops run`: create, list, plan, start, resume, cancel, reap, invalidate, wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.common import DryRun, Json, RunId, Yes, confirm, find_run, workspace_here
from console.output import emit_json, emit_table, emit_text
from pipeline.engine.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pipeline.engine.acts import Act
    from pipeline.engine.plan import Step
    from pipeline.engine.status import RunStatus

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Stage = Annotated[str, typer.Option("--stage", help="Only this stage.")]
Until = Annotated[str, typer.Option("--until", help="Go on to this stage; by default to the last.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Exactly this stage; may be repeated.")]


@app.command()
def new(
    recipe: Annotated[str, typer.Argument(help="Recipe; with --from it may be left out.")] = "",
    kind: Annotated[str, typer.Option(help="smoke, overfit, pilot or verified.")] = "pilot",
    name: Annotated[str, typer.Option(help="Part of the run id, for people.")] = "",
    source: Annotated[str, typer.Option("--from", help="Run whose unchanged stages are taken over.")] = "",
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="stage.parameter=value; TOML value or text.")
    ] = None,
    shards: Annotated[list[str] | None, typer.Option(help="stage=number of strides.")] = None,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Make a run: its directory and its frozen request. Nothing is started."""
    from pipeline.engine.config import load_config
    from pipeline.engine.registry import load_registry
    from pipeline.engine.runs import create_run

    workspace = workspace_here()
    registry = load_registry()
    if not recipe and not source:
        raise UsageError(
            "name a recipe or a run to start --from", hint=f"one of: {', '.join(registry.recipes)}"
        )
    wanted = {
        "recipe": recipe,
        "kind": kind,
        "slug": name,
        "source": find_run(source, workspace).run_id if source else "",
        "params": _assignments(assign or []),
        "shards": {stage: _whole(count, stage) for stage, count in map(_pair, shards or [])},
    }
    if dry_run:
        if recipe:
            registry.recipe(recipe)
        emit_json({"dry_run": True, **wanted}) if json else emit_text(f"would make a run: {wanted}")
        return
    made = create_run(workspace, registry, load_config(workspace).values, **wanted)  # type: ignore[arg-type]
    if json:
        emit_json({"run_id": made.run_id, "path": made.root})
    else:
        emit_text(f"{made.run_id}\nnext: xops run plan {made.run_id}")


@app.command("ls")
def list_(json: Json = False) -> None:
    """List the runs of the workspace, newest last, with what their stages are doing."""
    from pipeline.engine.registry import load_registry
    from pipeline.engine.runs import list_runs
    from pipeline.engine.status import read_run

    workspace, registry = workspace_here(), load_registry()
    found: list[dict[str, Any]] = []
    for summary in list_runs(workspace):
        row: dict[str, Any] = {"run_id": summary.run_id, "problem": summary.problem}
        if summary.request is not None:
            status = read_run(workspace.run(summary.run_id), registry, request=summary.request)
            row |= {
                "recipe": summary.request.recipe,
                "kind": summary.request.kind,
                "created": summary.request.created,
                "stages": {stage.stage: stage.state.value for stage in status.stages},
            }
        found.append(row)
    if json:
        emit_json({"workspace": workspace.root, "runs": found})
        return
    rows = [(r["run_id"], r.get("recipe", "-"), r.get("kind", "-"), r["problem"] or _tally(r)) for r in found]
    emit_table(
        ["run", "recipe", "kind", "stages"], rows, empty="no runs yet; make one with: xops run new RECIPE"
    )


@app.command()
def show(run: RunId, json: Json = False) -> None:
    """Show one run: every stage with its state, attempts, gate, and why it is so."""
    status = _status(run)
    if json:
        emit_json(status)
        return
    emit_text(f"{status.request.run_id}  recipe {status.request.recipe}  kind {status.request.kind}")
    rows = [
        (s.stage, s.state.value, len(s.attempts), s.gate.verdict.value if s.gate else "-", s.reason)
        for s in status.stages
    ]
    emit_table(["stage", "state", "attempts", "gate", "why"], rows, empty="the run has no stages")


@app.command()
def plan(run: RunId, until: Until = "", only: Only = None, json: Json = False) -> None:
    """Say what a start would do, stage by stage, and why."""
    from pipeline.engine.plan import plan as make_plan
    from pipeline.engine.registry import load_registry

    status = _status(run)
    steps = make_plan(status.stages, load_registry().stages, until=until, only=only or ())
    _print_steps(steps, json=json)


@app.command()
def start(
    run: RunId,
    until: Until = "",
    only: Only = None,
    shard: Annotated[
        list[int] | None, typer.Option(help="Only this shard of the stage given by --only.")
    ] = None,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Start what the plan allows; returns once it really runs and prints the hand-off records."""
    from pipeline.engine.operations import start as do_start

    found, registry = _run_and_registry(run)
    act = do_start(found, registry, until=until, only=only or (), shards=shard or (), dry_run=dry_run)
    _print_act(act, json=json)


app.command("resume", help="Go on with failed, cancelled or lost stages: the same as start.")(start)


@app.command()
def cancel(
    run: RunId,
    stage: Stage = "",
    shard: Annotated[list[int] | None, typer.Option(help="Only this shard.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Kill at once; work since the last save is lost.")
    ] = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Ask what runs to stop cleanly; a later resume continues from what it saved."""
    from pipeline.engine.operations import cancel as do_cancel

    found, registry = _run_and_registry(run)
    if force and not dry_run:
        confirm(f"Kill {stage or 'everything'} of {found.run_id} at once?", yes=yes)
    act = do_cancel(found, registry, stage, shards=shard or (), force=force, dry_run=dry_run)
    _print_act(act, json=json)


@app.command()
def reap(
    run: RunId,
    stage: Annotated[str, typer.Option("--stage", help="The stage whose processes are left over.")],
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Kill the processes that a dead attempt left behind."""
    from pipeline.engine.operations import reap as do_reap

    found, registry = _run_and_registry(run)
    if not dry_run:
        confirm(f"Kill what {stage} of {found.run_id} left behind?", yes=yes)
    _print_act(do_reap(found, registry, stage, dry_run=dry_run), json=json)


@app.command()
def invalidate(
    run: RunId,
    stage: Annotated[str, typer.Option("--stage", help="The stage to do again.")],
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Move the outputs of a stage aside so that it is done again; nothing is deleted."""
    from pipeline.engine.operations import invalidate as do_invalidate

    found, registry = _run_and_registry(run)
    if not dry_run:
        confirm(f"Move the outputs of {stage} of {found.run_id} aside?", yes=yes)
    _print_act(do_invalidate(found, registry, stage, dry_run=dry_run), json=json)


@app.command()
def wait(
    run: RunId,
    stage: Stage = "",
    timeout: Annotated[float, typer.Option(help="Seconds; 0 waits as long as it takes.")] = 0.0,
    json: Json = False,
) -> None:
    """Wait until nothing runs any more; the exit status says how it ended."""
    from pipeline.engine.operations import wait as do_wait

    found, registry = _run_and_registry(run)
    status = do_wait(found, registry, stage, timeout_s=timeout or None)
    if json:
        emit_json(status)
    else:
        for part in status.stages:
            emit_text(f"{part.stage}: {part.state.value}{'; ' + part.reason if part.reason else ''}")
    raise typer.Exit(int(outcome(status, stage)))


def outcome(status: RunStatus, stage: str = "") -> ExitCode:
    """The exit status that tells how a run, or one stage of it, stands."""
    from pipeline.engine.state import StageState

    parts = [part for part in status.stages if stage in ("", part.stage)]
    if any(part.state.resumable for part in parts):
        return ExitCode.STAGE_FAILED
    if any(part.state is StageState.SUCCEEDED and not part.done for part in parts):
        return ExitCode.GATE_NOT_PASSED
    return ExitCode.OK if all(part.done for part in parts) else ExitCode.NOT_READY


def _run_and_registry(name: str) -> Any:
    from pipeline.engine.registry import load_registry

    return find_run(name), load_registry()


def _status(name: str) -> RunStatus:
    from pipeline.engine.status import read_run

    found, registry = _run_and_registry(name)
    return read_run(found, registry)


def _print_steps(steps: list[Step], *, json: bool) -> None:
    if json:
        emit_json({"steps": steps})
        return
    rows = [(step.stage, step.action.value, step.reason, step.reuses or "-") for step in steps]
    emit_table(["stage", "action", "why", "not done again"], rows, empty="nothing to do")


def _print_act(act: Act, *, json: bool) -> None:
    if json:
        emit_json(act)
        return
    emit_text(f"{'would: ' if act.dry_run else ''}{act.message}")
    for handoff in act.handoffs:
        emit_text(f"running: {handoff.stage} attempt {handoff.attempt}, pid {handoff.pid} on {handoff.host}")
    if act.conductor is not None:
        emit_text("the stages after it start by themselves; this terminal may be closed")


def _tally(row: dict[str, Any]) -> str:
    states = list(row["stages"].values())
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{text!r} is not NAME=VALUE")
    return name, value


def _whole(text: str, stage: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"--shards {stage}={text}: a whole number is wanted")
    return int(text)


def _assignments(texts: list[str]) -> dict[str, dict[str, Any]]:
    """`stage.parameter=value` as nested values; a value that is TOML is taken as TOML, else as text."""
    import tomllib

    found: dict[str, dict[str, Any]] = {}
    for name, text in map(_pair, texts):
        stage, dot, parameter = name.partition(".")
        if not dot:
            raise UsageError(f"--set {name}: stage.parameter=value is wanted")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        found.setdefault(stage, {})[parameter] = value
    return found

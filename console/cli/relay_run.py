"""The verbs of `xops relay` that act on a run: run, status, limit, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.common import DryRun, Json, RunId, Yes, confirm, find_run, workspace_here
from console.output import emit_json, emit_table, emit_text

if TYPE_CHECKING:
    from pipeline.hub.preflight import Preflight
    from pipeline.hub.selection import Selection

Side = Annotated[str, typer.Option(help="download, transfer or all.")]

_SIDES = {"download": ("download",), "transfer": ("transfer",), "all": ("download", "transfer")}


def add_to(app: typer.Typer) -> None:
    """Register these verbs in the group."""
    for verb in (run, status, limit, verify):
        app.command()(verb)


def run(
    selection: Annotated[
        Path | None, typer.Option("--selection", "--selection-json", help="Selection file; else one is made.")
    ] = None,
    relay_root: Annotated[str, typer.Option(help="Directory for batches on this machine.")] = "",
    batch_max_gib: Annotated[float, typer.Option(help="Most GiB of a batch.")] = 40.0,
    batch_max_episodes: Annotated[int, typer.Option(help="Most episodes of a batch.")] = 16,
    prefetch: Annotated[int, typer.Option(help="Batches downloaded ahead.")] = 1,
    transfer_host: Annotated[str, typer.Option(help="[user@]host[:port] of the training host.")] = "",
    transfer_root: Annotated[str, typer.Option(help="Data root there.")] = "",
    ssh_key: Annotated[str, typer.Option(help="Private key for that host.")] = "",
    transfer_mode: Annotated[str, typer.Option(help="chunked or rsync.")] = "chunked",
    chunk_parallel: Annotated[int, typer.Option(help="Most connections.")] = 8,
    chunk_size_mib: Annotated[float, typer.Option(help="Size of a chunk.")] = 8.0,
    chunk_threshold_mib: Annotated[float, typer.Option(help="Files up to this go whole.")] = 8.0,
    bandwidth_mib_per_s: Annotated[float, typer.Option(help="Cap of the transfer; 0 for none.")] = 0.0,
    delete_after_transfer: Annotated[
        bool, typer.Option(help="A batch leaves the relay once it is proved there.")
    ] = True,
    wait: Annotated[bool, typer.Option("--wait", help="Stay and tell progress on stderr.")] = False,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Make a run of recipe `relay` and start it; this terminal may be closed afterwards."""
    relay = {
        "relay_root": relay_root,
        "batch_max_gib": batch_max_gib,
        "batch_max_episodes": batch_max_episodes,
        "prefetch": prefetch,
        "transfer_host": transfer_host,
        "transfer_root": transfer_root,
        "ssh_key": ssh_key,
        "transfer_mode": transfer_mode,
        "chunk_parallel": chunk_parallel,
        "chunk_size_mib": chunk_size_mib,
        "chunk_threshold_mib": chunk_threshold_mib,
        "bandwidth_mib_per_s": bandwidth_mib_per_s,
        "delete_after_transfer": delete_after_transfer,
    }
    params: dict[str, dict[str, Any]] = {"relay": relay, "preflight": _shared_with_preflight(relay)}
    if selection is not None:
        params["select"] = {"selection": str(selection.absolute())}
    if dry_run:
        _show_dry_run(params, selection, json=json)
        return
    _start(params, wait=wait, json=json)


def status(run: RunId, json: Json = False) -> None:
    """Say how a relay stands: batches, bytes, rates, disks, and what holds it up."""
    found = _standing(find_run(run))
    if json:
        emit_json(found)
        return
    for name, value in found.items():
        if not isinstance(value, list):
            emit_text(f"{name.replace('_', ' ')}: {'-' if value is None else value}")
    emit_table(
        ["batch", "files", "bytes", "state"],
        [(batch["number"], batch["files"], batch["bytes"], batch["state"]) for batch in found["batches"]],
        empty="the relay has not begun",
    )


def limit(
    run: RunId,
    stage: Annotated[str, typer.Option("--stage", help="relay or transfer.")] = "relay",
    lanes: Annotated[int | None, typer.Option(help="Most connections.")] = None,
    bandwidth_mib: Annotated[float | None, typer.Option(help="Cap in MiB/s; 0 removes it.")] = None,
    pause: Side = "",
    go_on: Annotated[str, typer.Option("--continue", help="download, transfer or all.")] = "",
    retry: Annotated[str, typer.Option(help="FILE or FILE:CHUNK to send again.")] = "",
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Change how hard a relay works while it runs; with no option, show what is in force."""
    from pipeline.transfer.control import change_control, read_control

    found = find_run(run)
    changes: dict[str, Any] = {f"{side}_paused": True for side in _sides(pause)}
    changes |= {f"{side}_paused": False for side in _sides(go_on)}
    changes |= {"lanes": lanes} if lanes is not None else {}
    changes |= {"bandwidth_mib_per_s": bandwidth_mib} if bandwidth_mib is not None else {}
    if changes or retry:
        control = change_control(
            found, stage, retry=_retry(retry) if retry else None, dry_run=dry_run, **changes
        )
    else:
        control = read_control(found.stage(stage))
    if json:
        emit_json(control)
        return
    paused = [side for side in ("download", "transfer") if getattr(control, f"{side}_paused")]
    emit_text(f"{'would be ' if dry_run else ''}paused: {', '.join(paused) or 'nothing'}")
    emit_text(f"connections: {control.lanes or 'as the run was asked'}")
    cap = control.bandwidth_mib_per_s
    emit_text(f"cap: {'as the run was asked' if cap is None else f'{cap:g} MiB/s' if cap else 'none'}")


def verify(
    run: RunId,
    repair: Annotated[bool, typer.Option("--repair", help="Send again what differs.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Believe files that were not touched since they were proved.")
    ] = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Read back every file from the training host; name file and chunk of each difference."""
    import asyncio
    import threading

    from pipeline.transfer.relay.check import check, open_relay_run

    relay = open_relay_run(find_run(run))
    if repair and not dry_run:
        confirm(f"Overwrite what differs on {relay.destination}?", yes=yes)
    found = asyncio.run(
        check(relay, repair=repair and not dry_run, emit=_told(), cancel=threading.Event(), trust=quick)
    )
    if json:
        emit_json(found)
    else:
        rows = [(d.path, d.kind, d.detail) for d in found.differences]
        emit_table(
            ["file", "is", "found"], rows, empty=f"{found.files} files on {found.destination} are right"
        )
        if found.repaired:
            emit_text(f"repaired {len(found.repaired)} files with {found.sent} bytes")
    raise typer.Exit(1 if found.differences else 0)


def preflight_question(
    selection: Selection, *, transfer_host: str, transfer_root: str, relay_root: str, ssh_key: str
) -> Preflight:
    """What preflight looks at, with the workspace's hosts for what is left empty."""
    from pipeline.engine.config import HostConfig, load_config
    from pipeline.hub.keys import DEFAULT_KEY
    from pipeline.hub.preflight import Preflight
    from pipeline.hub.relay_plan import plan_relay
    from pipeline.stages.preflight import host_of

    workspace = workspace_here()
    config = load_config(workspace).values
    relay = host_of(config, "relay") or HostConfig()
    training = host_of(config, "training") or HostConfig(address="")
    return Preflight(
        repo_id=selection.repo_id,
        endpoint=config.dataset.endpoint,
        plan=plan_relay(selection),
        relay_root=Path(relay_root or relay.data_root or workspace.root / "relay"),
        transfer_host=transfer_host or training.address,
        transfer_root=transfer_root or training.data_root,
        ssh_key=ssh_key or training.ssh_key or str(DEFAULT_KEY),
    )


def _shared_with_preflight(relay: dict[str, Any]) -> dict[str, Any]:
    from pipeline.stages.preflight import Params

    return {name: relay[name] for name in Params.__struct_fields__ if name in relay}


def _show_dry_run(params: dict[str, dict[str, Any]], selection: Path | None, *, json: bool) -> None:
    """The plan of a given selection; no token, no network, no run."""
    from pipeline.engine.errors import UsageError
    from pipeline.hub.relay_plan import plan_relay
    from pipeline.hub.selection import read_selection

    if selection is None:
        raise UsageError("a dry run plans a selection", hint="--selection FILE")
    relay = params["relay"]
    made = plan_relay(
        read_selection(selection),
        batch_max_gib=relay["batch_max_gib"],
        batch_max_episodes=relay["batch_max_episodes"],
        prefetch=relay["prefetch"],
        delete_after_transfer=relay["delete_after_transfer"],
    )
    if json:
        emit_json({"dry_run": True, "params": params, "plan": made})
        return
    from console.cli.relay import _show_plan

    _show_plan(made)


def _start(params: dict[str, dict[str, Any]], *, wait: bool, json: bool) -> None:
    from console.cli.run import outcome
    from pipeline.engine.config import load_config
    from pipeline.engine.operations import start
    from pipeline.engine.registry import load_registry
    from pipeline.engine.runs import create_run
    from pipeline.engine.status import read_run

    workspace, registry = workspace_here(), load_registry()
    config = load_config(workspace).values
    made = create_run(workspace, registry, config, recipe="relay", kind="pilot", params=params)
    act = start(made, registry)
    if json:
        emit_json(act)
    else:
        emit_text(f"{made.run_id}: {act.message}\nnext: xops relay status {made.run_id}")
    if wait:
        from console.demo import follow

        follow(made, registry, _say)
        raise typer.Exit(int(outcome(read_run(made, registry))))


def _standing(run: Any) -> dict[str, Any]:
    """What the relay's log says."""
    from pipeline.engine.runs import load_request
    from pipeline.transfer.relay.standing import standing

    stages = [name for name in ("relay", "transfer") if name in load_request(run).stages]
    return standing(run.stage(stages[0] if stages else "relay").progress)


def _sides(text: str) -> tuple[str, ...]:
    from pipeline.engine.errors import UsageError

    if not text:
        return ()
    if text not in _SIDES:
        raise UsageError(f"{text!r} is no side of a relay", hint="download, transfer or all")
    return _SIDES[text]


def _retry(text: str) -> tuple[str, int | None]:
    file, colon, chunk = text.rpartition(":")
    return (file, int(chunk)) if colon and chunk.isdecimal() else (text, None)


def _told() -> Any:
    """Progress of a verification, on stderr."""

    def emit(event: str, **fields: Any) -> None:
        done, total = fields.get("done", 0), fields.get("total", 0)
        if event == "verify_file" and (done == total or done % 50 == 0):
            _say(f"read back {done} of {total} files")
        elif event in {"mismatch", "repaired", "paused", "continued"}:
            _say(f"{event}: {fields.get('file') or fields.get('reason') or fields.get('side')}")

    return emit


def _say(text: str) -> None:
    from pipeline.engine.text import safe_text

    sys.stderr.write(safe_text(text) + "\n")

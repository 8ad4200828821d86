"""`xops relay`: plan a relay, look at the Hub and the hosts, run it, steer it, prove it, repair it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli import relay_run
from console.cli.common import DryRun, Json
from console.output import emit_json, emit_table, emit_text

if TYPE_CHECKING:
    from pipeline.hub.pool import Pool
    from pipeline.hub.relay_plan import RelayPlan

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SelectionFile = Annotated[Path, typer.Option("--selection", help="Selection file, the published one too.")]
ListingFile = Annotated[
    Path | None, typer.Option("--listing", help="File listing on disk: xops relay listing.")
]
Episode = Annotated[str, typer.Argument(help="<session>/ep<N>.")]


@app.command()
def plan(
    selection: SelectionFile,
    batch_max_gib: Annotated[float, typer.Option(help="Most GiB of a batch.")] = 40.0,
    batch_max_episodes: Annotated[int, typer.Option(help="Most episodes of a batch.")] = 16,
    prefetch: Annotated[int, typer.Option(help="Batches downloaded ahead.")] = 1,
    delete_after_transfer: Annotated[
        bool, typer.Option(help="A batch leaves the relay once it is proved.")
    ] = True,
    download_mib_per_s: Annotated[
        tuple[float, float] | None, typer.Option(help="Slowest and fastest download expected.")
    ] = None,
    transfer_mib_per_s: Annotated[
        tuple[float, float] | None, typer.Option(help="Slowest and fastest transfer expected.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the batches, the disk they need and how long they take; needs no token and no network."""
    from pipeline.hub.relay_plan import Rate, plan_relay
    from pipeline.hub.selection import read_selection

    def rate(mib: tuple[float, float] | None) -> Rate | None:
        return Rate(min(mib) * (1 << 20), max(mib) * (1 << 20)) if mib else None

    made = plan_relay(
        read_selection(selection),
        batch_max_gib=batch_max_gib,
        batch_max_episodes=batch_max_episodes,
        prefetch=prefetch,
        delete_after_transfer=delete_after_transfer,
        download=rate(download_mib_per_s),
        transfer=rate(transfer_mib_per_s),
    )
    emit_json(made) if json else _show_plan(made)


@app.command()
def listing(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("listing.json"),
    revision: Annotated[str, typer.Option(help="Commit or branch; by default the workspace's.")] = "",
    json: Json = False,
) -> None:
    """Fetch the Hub's file listing with sizes and hashes, for work without a network."""
    from pipeline.hub.listing import fetch_listing, write_listing

    dataset = _dataset()
    found = fetch_listing(dataset.repo_id, revision=revision or dataset.revision, endpoint=dataset.endpoint)
    write_listing(output, found)
    if json:
        emit_json({"path": output, "revision": found.revision, "files": len(found.files)})
    else:
        emit_text(f"{len(found.files)} files at {found.revision} -> {output}")


@app.command()
def explain(
    episode: Episode, selection: SelectionFile, listing: ListingFile = None, json: Json = False
) -> None:
    """Say why an episode is selected, or why it is not."""
    from pipeline.hub.revise import explain as why
    from pipeline.hub.selection import read_selection

    chosen = read_selection(selection)
    found = why(chosen, episode, _pool(chosen, listing) if listing else None)
    emit_json(found) if json else emit_text(f"{found.episode}: {found.verdict}: {found.reason}")


@app.command()
def replace(
    episode: Episode,
    selection: SelectionFile,
    listing: Annotated[Path, typer.Option("--listing", help="File listing on disk.")],
    why: Annotated[str, typer.Option("--why", help="The reason; it stays in the selection.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the new version.")],
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Exchange one episode for the next best of the same split and band: a new selection version."""
    from pipeline.hub.revise import replace as exchange
    from pipeline.hub.selection import read_selection, write_selection

    chosen = read_selection(selection)
    changed = exchange(chosen, episode, _pool(chosen, listing), reason=why)
    if not dry_run:
        write_selection(output, changed)
    made = changed.replacements[-1]
    if json:
        emit_json({"dry_run": dry_run, "path": output, "version": changed.version, "replacement": made})
    else:
        verb = "would replace" if dry_run else "replaced"
        emit_text(f"{verb} {made.removed} by {made.added}: version {changed.version}, {output}")


@app.command()
def access(
    wait: Annotated[
        bool, typer.Option("--wait", help="Look again, ever more rarely, until the gate opens.")
    ] = False,
    max_probes: Annotated[int, typer.Option(help="Give up after so many looks; 0 never does.")] = 0,
    json: Json = False,
) -> None:
    """Say whether this account may read the gated dataset now."""
    from pipeline.hub.access import probe_access

    dataset = _dataset()
    if wait:
        found = _watched(dataset, max_probes)
    else:
        found = probe_access(dataset.repo_id, endpoint=dataset.endpoint)
    if json:
        emit_json(found)
    else:
        emit_text(f"{found.state}: {found.detail}" + (f"\nfix: {found.fix}" if found.fix else ""))
    raise typer.Exit(0 if found.granted else 77)


@app.command()
def key(
    path: Annotated[str, typer.Option(help="Private key; by default the relay's own.")] = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make the relay's own ed25519 key if there is none, and print its public half."""
    from pipeline.hub.keys import DEFAULT_KEY, ensure_key, read_key

    place = Path(path) if path else DEFAULT_KEY
    found = read_key(place) if dry_run else ensure_key(place)
    if json:
        emit_json(found)
        return
    emit_text(found.public_line)
    emit_text(f"{'made' if found.created else 'there already'}: {found.path} ({found.fingerprint})")
    for problem in found.problems:
        emit_text(f"problem: {problem}")
    emit_text("next: append that line to ~/.ssh/authorized_keys on the training host")


@app.command()
def preflight(
    selection: SelectionFile,
    transfer_host: Annotated[str, typer.Option(help="[user@]host[:port] of the training host.")] = "",
    transfer_root: Annotated[str, typer.Option(help="Data root there.")] = "",
    relay_root: Annotated[str, typer.Option(help="Directory for batches on this machine.")] = "",
    ssh_key: Annotated[str, typer.Option(help="Private key for that host.")] = "",
    json: Json = False,
) -> None:
    """Look at the Hub, this machine and the training host before anything is moved."""
    import asyncio

    from console.cli.relay_run import preflight_question
    from pipeline.hub.preflight import ready, run_preflight
    from pipeline.hub.selection import read_selection
    from pipeline.stages.preflight import Params, connector

    asked = preflight_question(
        read_selection(selection),
        transfer_host=transfer_host,
        transfer_root=transfer_root,
        relay_root=relay_root,
        ssh_key=ssh_key,
    )
    rows = asyncio.run(run_preflight(asked, connect=connector(asked, Params())))
    if json:
        emit_json({"ready": ready(rows), "rows": rows})
    else:
        emit_table(
            ["", "host", "row", "found", "fix"],
            [(row.status, row.host, row.name, row.detail, row.fix) for row in rows],
            empty="nothing was looked at",
        )
    raise typer.Exit(0 if ready(rows) else 1)


relay_run.add_to(app)


def _dataset() -> Any:
    from console.cli.common import workspace_here
    from pipeline.engine.config import load_config

    return load_config(workspace_here()).values.dataset


def _pool(selection: Any, listing_file: Path) -> Pool:
    import msgspec

    from pipeline.hub.listing import read_listing
    from pipeline.hub.pool import SelectRules, make_pool

    rules = {name: selection.rules[name] for name in SelectRules.__struct_fields__ if name in selection.rules}
    rules |= {"target_episodes": selection.target_episodes, "seed": selection.seed}
    return make_pool(read_listing(listing_file), msgspec.convert(rules, SelectRules))


def _watched(dataset: Any, max_probes: int) -> Any:
    import sys
    import threading

    from pipeline.engine.text import safe_text
    from pipeline.hub.access import watch_access

    def told(event: str, **fields: Any) -> None:
        line = f"{event}: {fields.get('state', '')} {fields.get('detail', '')}".rstrip()
        sys.stderr.write(safe_text(line) + "\n")

    return watch_access(
        dataset.repo_id,
        emit=told,
        cancel=threading.Event(),
        endpoint=dataset.endpoint,
        max_probes=max_probes,
    )


def _show_plan(made: RelayPlan) -> None:
    gib = 1 << 30
    emit_text(
        f"{made.episodes} episodes of {made.sessions} sessions, {made.files} files, "
        f"{made.bytes / gib:.2f} GiB at {made.revision[:12]}: {len(made.batches)} batches, "
        f"{made.chunks} chunks"
    )
    emit_text(
        f"needs {made.relay_peak_bytes / gib:.1f} GiB on the relay and "
        f"{made.needed_on_destination_bytes / gib:.1f} GiB on the training host"
    )
    emit_table(
        ["batch", "episodes", "files", "GiB", "relay GiB", "there GiB", "done after h"],
        [
            (
                batch.number,
                len(batch.episodes),
                batch.files,
                f"{batch.bytes / gib:.2f}",
                f"{batch.relay_bytes / gib:.1f}",
                f"{batch.destination_bytes / gib:.1f}",
                _hours(batch.transferred_s),
            )
            for batch in made.batches
        ],
        empty="nothing to move",
    )


def _hours(seconds: Any) -> str:
    return f"{seconds.low / 3600:.1f} to {seconds.high / 3600:.1f}" if seconds else "-"

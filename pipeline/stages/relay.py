"""Stage `relay`: the selection, from the Hub over this machine's disk to the training host, proved there.

Everything about it may be killed at any time: what is on the destination is found and proved again, what is
on this disk is kept, nothing verified moves twice. An operator changes its pace through
`pipeline.transfer.control`.

Publishes `plan.json`, `staged.json` (path, size and sha256 of every file read back from the destination) and,
where the destination is this machine, the artefact `data_root`.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pipeline.engine.context import StageContext
from pipeline.stages.select import SELECTION_FILE
from pipeline.transfer.relay.options import RelayOptions

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from pipeline.engine.log import Emit
    from pipeline.hub.gates import Staged
    from pipeline.hub.relay_plan import RelayPlan
    from pipeline.hub.selection import Selection
    from pipeline.hub.types import Batch
    from pipeline.transfer.link import Destination
    from pipeline.transfer.relay.pace import Pace
    from pipeline.transfer.relay.space import Space
    from pipeline.transfer.sender import Sender

GIB = 1 << 30

#: Seconds between two signs of life while what lies on the destination is read.
_TELL_S = 5.0

T = TypeVar("T")


class Params(RelayOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `pipeline.transfer.relay.options.RelayOptions`, under the seed's names."""


def run(context: StageContext) -> None:
    """Relay what is missing, and ask G1 to G3 of what the destination really holds."""
    from pipeline.engine.files import publish_json
    from pipeline.hub.batches import make_batches
    from pipeline.hub.gates import staged_checks
    from pipeline.hub.selection import read_selection
    from pipeline.transfer.link import Destination

    params: Params = context.params
    selection = read_selection(context.upstream("select") / SELECTION_FILE)
    plan = _plan(params, selection)
    publish_json(context.out / "plan.json", msgspec.to_builtins(plan))
    if params.dry_run:
        context.check("nothing_moved", True, f"dry run: {len(plan.batches)} batches, {plan.bytes} bytes")
        return
    batches = make_batches(selection, max_gib=params.batch_max_gib, max_episodes=params.batch_max_episodes)
    destination = Destination(params, context.config)
    staged, failures = asyncio.run(_relay(context, selection, batches, plan, destination))
    publish_json(context.out / "staged.json", msgspec.to_builtins(staged))
    publish_json(context.out / "failures.json", msgspec.to_builtins(failures))
    if destination.is_here:
        context.artefact("data_root", Path(destination.root).expanduser())
    for check in staged_checks(selection, staged):
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)


def relay_root(context: StageContext) -> Path:
    """Where this machine keeps batches: the parameter, the workspace's relay host, or the workspace."""
    from pipeline.stages.preflight import host_of

    relay = host_of(context.config, "relay")
    configured = relay.data_root if relay else ""
    return Path(context.params.relay_root or configured or context.workspace.root / "relay").expanduser()


def _plan(params: Params, selection: Selection) -> RelayPlan:
    from pipeline.hub.relay_plan import plan_relay

    return plan_relay(
        selection,
        batch_max_gib=params.batch_max_gib,
        batch_max_episodes=params.batch_max_episodes,
        prefetch=params.prefetch,
        delete_after_transfer=params.delete_after_transfer,
        chunk_bytes=int(params.chunk_size_mib * (1 << 20)),
    )


async def _relay(
    context: StageContext,
    selection: Selection,
    batches: Sequence[Batch],
    plan: RelayPlan,
    destination: Destination,
) -> tuple[list[Staged], list[Any]]:
    """Move what is missing; the files found on the destination afterwards, and those that failed."""
    from pipeline.engine.claim import Claim
    from pipeline.hub.source import HubSource
    from pipeline.transfer.relay.ledger import Ledger
    from pipeline.transfer.relay.pace import Pace
    from pipeline.transfer.relay.run import LOCK, Relay
    from pipeline.transfer.relay.space import Marks, Space

    params, root = context.params, relay_root(context)
    staging = root / "staging"
    staging.mkdir(parents=True, exist_ok=True)
    marks = Marks(int(params.low_water_gib * GIB), int(params.high_water_gib * GIB))
    space = Space(staging, marks, context.emit)
    ledger = Ledger(root / "ledger")
    pace = Pace(destination.limits)
    hint = f"look who it is: xops run ls; another root: --set {context.paths.root.name}.relay_root=DIR"
    with Claim(root / LOCK, what=f"the relay root {root}", hint=hint):
        async with (
            destination.sender(context.work, context.emit, context.cancelled) as sender,
            HubSource(
                selection.repo_id, selection.commit, endpoint=context.config.dataset.endpoint
            ) as source,
        ):
            proved = await _proved(context, batches, sender)
            left = {b.number: sum(f.size for f in b.files if f.path not in proved) for b in batches}
            context.emit("relay_plan", **_described(context, plan, left, destination))
            gone = proved if params.delete_after_transfer else frozenset()
            names = [f.path for batch in batches for f in batch.files]
            ledger.claim(context.run.run_id, names)
            abandoned = ledger.abandoned(context.run.run_id, lambda run_id: _is_over(context, run_id))
            space.sweep(abandoned, [name for name in names if name not in gone])
            pace.already = sum(f.size for batch in batches for f in batch.files if f.path in proved)
            keeping = asyncio.create_task(_keep(context, pace, sender, space, plan.bytes))
            try:
                relay = Relay(
                    batches,
                    source=source,
                    sender=sender,
                    space=space,
                    pace=pace,
                    emit=context.emit,
                    cancel=context.cancelled,
                    send=_send(context, destination, sender),
                    prefetch=params.prefetch,
                    delete=params.delete_after_transfer,
                    parallel_files=params.parallel_files,
                    parallel_chunks=params.parallel_chunks,
                )
                failures = await _beside(relay.run(frozenset(proved)), keeping)
            finally:
                keeping.cancel()
            if params.delete_after_transfer and not failures:
                ledger.forget(context.run.run_id)
            return await _staged(context, batches, sender), list(failures)


def _is_over(context: StageContext, run_id: str) -> bool:
    """Whether another run can no longer want what it put here: it is gone, or its relay is done."""
    run = context.workspace.run(run_id)
    return not run.root.is_dir() or run.stage(context.paths.root.name).outputs.exists()


def _send(context: StageContext, destination: Destination, sender: Sender) -> Any:
    from pipeline.transfer.link import send_of

    return send_of(destination, sender, context.emit, context.cancelled)


async def _keep(context: StageContext, pace: Pace, sender: Sender, space: Space, total: int) -> None:
    """Follow the operator's wishes, and report rates and disks."""
    from pipeline.transfer.control import read_control
    from pipeline.transfer.relay.space import report_destination

    async def report() -> None:
        space.report()
        await report_destination(sender, context.emit)

    await pace.keep(lambda: read_control(context.paths), sender, context.emit, total=total, report=report)


async def _beside(work: Coroutine[Any, Any, T], keeping: asyncio.Task[None]) -> T:
    """The outcome of `work`, or why `keeping` ended: nobody may steer a relay that stopped listening."""
    moving = asyncio.ensure_future(work)
    try:
        await asyncio.wait({moving, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            keeping.result()
        return moving.result()
    finally:
        moving.cancel()
        await asyncio.wait({moving})


async def _proved(context: StageContext, batches: Sequence[Batch], sender: Sender) -> set[str]:
    """Files that lie right on the destination already."""
    from pipeline.transfer.verify import verify

    files = _outgoing(batches)
    differences, hashes = await verify(sender, files, emit=_now_and_then(context.emit), trust=True)
    wrong = {difference.path for difference in differences}
    found = {file.path for file in files if file.path in hashes and file.path not in wrong}
    if found:
        context.emit("found_there", files=len(found), bytes=sum(f.size for f in files if f.path in found))
    return found


async def _staged(context: StageContext, batches: Sequence[Batch], sender: Sender) -> list[Staged]:
    """Every file below the destination root: wanted ones with their proved hash, others as they are."""
    from pipeline.hub.gates import Staged
    from pipeline.transfer.verify import verify

    _, hashes = await verify(sender, _outgoing(batches), emit=context.emit, trust=True)
    return [
        Staged(path, entry.size, hashes.get(path) if entry.kind == "file" else None)
        for path, entry in await sender.tree()
    ]


def _outgoing(batches: Sequence[Batch]) -> list[Any]:
    from pipeline.transfer.outgoing import Outgoing

    return [
        Outgoing(file.path, file.size, file.sha256, batch.number) for batch in batches for file in batch.files
    ]


def _described(
    context: StageContext, plan: RelayPlan, left: dict[int, int], destination: Destination
) -> dict[str, Any]:
    """The fields of `relay_plan`, on which screens build their picture."""
    return {
        "batches": [
            {
                "number": batch.number,
                "episodes": len(batch.episodes),
                "files": batch.files,
                "bytes": batch.bytes,
                "bytes_left": left[batch.number],
                "relay_bytes": batch.relay_bytes,
            }
            for batch in plan.batches
        ],
        "files": plan.files,
        "bytes": plan.bytes,
        "chunks": plan.chunks,
        "chunk_bytes": plan.chunk_bytes,
        "prefetch": plan.prefetch,
        "destination": str(destination),
        "relay_root": str(relay_root(context)),
        "delete_after_transfer": plan.delete_after_transfer,
        "mode": context.params.transfer_mode,
    }


def _now_and_then(emit: Emit) -> Emit:
    """An `Emit` for a long look whose outcome is told in one event: it only says that it goes on."""
    last = time.monotonic()

    def told(event: str, **fields: Any) -> None:
        nonlocal last
        if event == "verify_file" and time.monotonic() - last > _TELL_S:
            last = time.monotonic()
            emit(
                "phase",
                phase="look at the destination",
                done=fields["done"],
                total=fields["total"],
                unit="files",
            )

    return told

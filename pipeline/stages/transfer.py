"""Stage `transfer`: a directory of this machine to a host, without the Hub (R18).

The same transport as the relay's: chunked, resumed by comparing, proved by reading back there. The hashes are
this machine's own, so what is proved is that the destination holds what lies here.

Publishes `staged.json`, and the artefact `data_root` where the destination is this machine.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.engine.context import StageContext
from pipeline.transfer.relay.options import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.hub.gates import Staged
    from pipeline.transfer.link import Destination
    from pipeline.transfer.outgoing import Outgoing


class Params(Link, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `Link`, and what to send.

    Attributes:
        source: directory on this machine.
        keep_extra: whether other files on the destination are tolerated by the gate.
    """

    source: str
    keep_extra: bool = False


def run(context: StageContext) -> None:
    """Send what is missing and ask whether the destination holds exactly this."""
    from pipeline.engine.errors import NotFoundError
    from pipeline.engine.files import publish_json
    from pipeline.hub.gates import check_no_viewer_files
    from pipeline.transfer.link import Destination

    source = Path(context.params.source).expanduser()
    if not source.is_dir():
        raise NotFoundError(f"{source} is no directory", hint="--set transfer.source=DIR")
    destination = Destination(context.params, context.config)
    files, refused = _found(source)
    for path, reason in refused:
        context.emit("name_refused", path=path, reason=reason)
    staged = asyncio.run(_send(context, source, files, destination))
    publish_json(context.out / "staged.json", msgspec.to_builtins(staged))
    if destination.is_here:
        context.artefact("data_root", Path(destination.root).expanduser())
    _ask(context, files, staged, len(refused))
    viewer = check_no_viewer_files([file.path for file in staged])
    context.check(viewer.name, bool(viewer.ok), viewer.detail, **viewer.evidence)


def _found(source: Path) -> tuple[list[Outgoing], list[tuple[str, str]]]:
    """Every plain file below `source`, and the names that may not be sent, with the reason."""
    from pipeline.transfer.errors import RefusedPathError
    from pipeline.transfer.outgoing import Outgoing
    from pipeline.transfer.remote import check_path

    files: list[Outgoing] = []
    refused: list[tuple[str, str]] = []

    def unreadable(error: OSError) -> None:
        name = Path(error.filename).relative_to(source).as_posix()
        refused.append((name, f"its folder cannot be read: {error.strerror}"))

    for folder, folders, names in os.walk(source, onerror=unreadable):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in [*names, *links]):
            name = path.relative_to(source).as_posix()
            if path.is_symlink():
                refused.append((name, "a symbolic link"))
            elif not path.is_file():
                refused.append((name, "no plain file"))
            else:
                try:
                    files.append(Outgoing(check_path(name), path.stat().st_size))
                except RefusedPathError as error:
                    refused.append((name, str(error)))
    return sorted(files, key=lambda file: file.path), sorted(refused)


async def _send(
    context: StageContext, source: Path, files: Sequence[Outgoing], destination: Destination
) -> list[Staged]:
    from pipeline.hub.gates import Staged
    from pipeline.transfer.control import read_control
    from pipeline.transfer.link import send_of
    from pipeline.transfer.relay.pace import Pace
    from pipeline.transfer.relay.space import report_destination

    total = sum(file.size for file in files)
    context.emit(
        "relay_plan",
        batches=[{"number": 0, "episodes": 0, "files": len(files), "bytes": total, "bytes_left": total}],
        files=len(files),
        bytes=total,
        chunks=sum(max(1, -(-file.size // int(context.params.chunk_size_mib * (1 << 20)))) for file in files),
        chunk_bytes=int(context.params.chunk_size_mib * (1 << 20)),
        prefetch=0,
        destination=str(destination),
        relay_root=str(source),
        delete_after_transfer=False,
        mode=context.params.transfer_mode,
    )
    async with destination.sender(context.work, context.emit, context.cancelled) as sender:
        pace = Pace(destination.limits)

        async def report() -> None:
            await report_destination(sender, context.emit)

        look = asyncio.create_task(
            pace.keep(lambda: read_control(context.paths), sender, context.emit, total=total, report=report)
        )
        try:
            send: Any = send_of(destination, sender, context.emit, context.cancelled)
            delivered = await send(files, source)
        finally:
            look.cancel()
        hashes = {one.path: one.sha256 for one in delivered}
        return [Staged(path, entry.size, hashes.get(path)) for path, entry in await sender.tree()]


def _ask(context: StageContext, files: Sequence[Outgoing], staged: Sequence[Staged], refused: int) -> None:
    """The destination holds exactly the source."""
    there = {file.path: file for file in staged}
    missing = [f.path for f in files if f.path not in there or there[f.path].size != f.size]
    extra = sorted(there.keys() - {file.path for file in files})
    context.check(
        "source_arrived",
        not missing and not refused,
        f"{len(files) - len(missing)} of {len(files) + refused} files arrived; {refused} may not be sent",
        missing=missing[:20],
    )
    context.check(
        "nothing_else_there",
        not extra or context.params.keep_extra,
        f"{len(extra)} other files below {context.params.transfer_root}",
        extra=extra[:20],
    )

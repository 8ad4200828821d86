"""Stage `download`: the selection, fetched from the Hub straight to a data root on this host.

For training hosts that reach the Hub themselves; where they do not, the relay moves the same files. Every
file is hashed while it comes and gets its name only when the hash is the Hub's. A resumed attempt keeps
verified files and chunks.

Publishes `staged.json` (path, size and sha256 of every file found below the data root afterwards).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from pipeline.engine.context import StageContext
from pipeline.stages.select import SELECTION_FILE

if TYPE_CHECKING:
    from pipeline.hub.gates import Staged
    from pipeline.hub.selection import Selection
    from pipeline.hub.source import HubSource
    from pipeline.hub.types import RemoteFile


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where to and how fast.

    Attributes:
        data_root: directory of the staged episodes; empty means `data/` in the workspace.
        parallel_files: files fetched at a time.
        parallel_chunks: ranges of one file fetched at a time.
    """

    data_root: str = ""
    parallel_files: Annotated[int, Meta(ge=1, le=32)] = 4
    parallel_chunks: Annotated[int, Meta(ge=1, le=32)] = 4


def run(context: StageContext) -> None:
    """Fetch what is missing, hash what is there, and ask G1 to G3 of the result."""
    from pipeline.engine.files import publish_json
    from pipeline.hub.gates import staged_checks
    from pipeline.hub.selection import read_selection

    selection = read_selection(context.upstream("select") / SELECTION_FILE)
    root = Path(context.params.data_root or context.workspace.root / "data").expanduser()
    root.mkdir(parents=True, exist_ok=True)
    asyncio.run(_fetch_all(context, selection, root))
    staged = list(_hashed(context, root))
    publish_json(context.out / "staged.json", [msgspec.to_builtins(file) for file in staged])
    context.artefact("data_root", root)
    for check in staged_checks(selection, staged):
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)


async def _fetch_all(context: StageContext, selection: Selection, root: Path) -> None:
    from pipeline.hub.names import place
    from pipeline.hub.source import HubSource

    files = list(selection.files())
    waiting = [file for file in files if not _is_there(place(root, file.path), file)]
    done = len(files) - len(waiting)
    context.emit(
        "download_plan", files=len(files), bytes=selection.size, done=done, total=len(files), unit="files"
    )
    room = asyncio.Semaphore(context.params.parallel_files)
    endpoint = context.config.dataset.endpoint
    async with HubSource(selection.repo_id, selection.commit, endpoint=endpoint) as source:

        async def one(file: RemoteFile) -> None:
            nonlocal done
            async with room:
                await _fetch_one(context, source, file, place(root, file.path))
            done += 1
            context.emit(
                "file_done", file=file.path, bytes=file.size, done=done, total=len(files), unit="files"
            )

        try:
            async with asyncio.TaskGroup() as group:
                for file in waiting:
                    group.create_task(one(file))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the first reason; the others were cancelled because of it


async def _fetch_one(context: StageContext, source: HubSource, file: RemoteFile, destination: Path) -> None:
    from pipeline.hub.download import fetch

    context.check_cancelled()
    destination.parent.mkdir(parents=True, exist_ok=True)
    await fetch(
        file,
        destination,
        source=source,
        emit=context.emit,
        cancel=context.cancelled,
        parallel=context.params.parallel_chunks,
    )


def _is_there(path: Path, file: RemoteFile) -> bool:
    """A file has its final name only after its hash was right, so the size tells whether it is that file."""
    return path.is_file() and path.stat().st_size == file.size


def _hashed(context: StageContext, root: Path) -> Iterator[Staged]:
    """Every file below `root`, hashed from disk: the gate judges what is there, not what was received."""
    from pipeline.engine.fingerprint import sha256_of
    from pipeline.hub.gates import Staged

    paths = sorted(path for path in root.rglob("*") if path.is_file())
    for number, path in enumerate(paths, 1):
        context.check_cancelled()
        yield Staged(path.relative_to(root).as_posix(), path.stat().st_size, sha256_of(path))
        if number % 50 == 0 or number == len(paths):
            context.emit("file_verified", done=number, total=len(paths), unit="files")

"""Looking at a destination: what is really there, which chunk of which file differs, and putting it right.

Every byte is read back from the destination's disk. A difference is located by the chunk hashes remembered
when the file was sent; a file without them is only known to differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from pipeline.engine.log import Emit
from pipeline.transfer.delivered import Record
from pipeline.transfer.errors import DestinationError
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.remote import Remote, Seen, Span
from pipeline.transfer.sender import Sender


class Difference(Struct, frozen=True):
    """A file that is not what it should be.

    Attributes:
        path: relative to the destination root.
        kind: `missing`, of another `size`, of other `content`, or `extra`: not wanted at all.
        chunks: which chunks differ; empty for the whole file, or where they are not known.
        detail: in words.
    """

    path: str
    kind: Literal["missing", "size", "content", "extra"]
    chunks: tuple[int, ...] = ()
    detail: str = ""


async def verify(
    sender: Sender, files: Sequence[Outgoing], *, emit: Emit, trust: bool = False
) -> tuple[list[Difference], dict[str, str]]:
    """Compare the destination with what should be there.

    Args:
        sender: open on the destination.
        files: everything that should be there, with sha256.
        emit: gets `verify_file` and `mismatch`.
        trust: believe files whose stamp is the one they were proved under, instead of reading them again.

    Returns:
        All differences, and the sha256 of every file that is right or was read.

    Raises:
        CancelledByOperatorError: the sender was asked to stop.
    """
    seen = await sender.seen([file.path for file in files])
    differences: list[Difference] = []
    hashes: dict[str, str] = {}
    done = 0

    async def one(file: Outgoing, found: Seen) -> None:
        nonlocal done
        difference, actual = await _compare(sender, file, found, trust=trust)
        if actual:
            hashes[file.path] = actual
        if difference:
            differences.append(difference)
            emit(
                "mismatch",
                file=file.path,
                chunk=None,
                expected=file.sha256,
                actual=actual,
                kind=difference.kind,
            )
        done += 1
        emit("verify_file", file=file.path, ok=difference is None, done=done, total=len(files), unit="files")

    await asyncio.gather(*(one(file, found) for file, found in zip(files, seen, strict=True)))
    wanted = {file.path for file in files}
    differences += [
        Difference(path, "extra", detail=f"{entry.kind}, {entry.size} bytes")
        for path, entry in await sender.tree()
        if path not in wanted
    ]
    return sorted(differences, key=lambda difference: difference.path), hashes


async def _compare(
    sender: Sender, file: Outgoing, seen: Seen, *, trust: bool
) -> tuple[Difference | None, str]:
    """One file: its difference, if any, and the hash of what lies there."""
    if seen.size is None:
        return Difference(file.path, "missing", detail="a part is there" if seen.part is not None else ""), ""
    if seen.size != file.size:
        return Difference(file.path, "size", detail=f"{seen.size} bytes, not {file.size}"), ""
    known = sender.ledger.find(file.path)
    if trust and known and known.proves(file, seen.stamp):
        return None, known.sha256
    try:
        actual = await sender.ask_job(partial(_sha256, file))
    except DestinationError as error:
        return Difference(file.path, "content", detail=str(error)), ""
    if actual == file.sha256:
        sender.ledger.add(
            Record(file.path, file.size, actual, seen.stamp)
            if known is None or known.sha256 != actual
            else Record(file.path, file.size, actual, seen.stamp, known.chunk_bytes, known.chunks)
        )
        return None, actual
    sender.ledger.doubt(file.path)
    chunks = await _locate(sender, file, known) if known and known.sha256 == file.sha256 else ()
    named = f"chunk {', '.join(map(str, chunks))} of {len(known.chunks)}" if known and chunks else ""
    return Difference(file.path, "content", chunks, named or f"sha256 {actual}"), actual


async def _locate(sender: Sender, file: Outgoing, known: Record) -> tuple[int, ...]:
    """The chunks whose hash is not the remembered one."""
    if not known.chunks:
        return ()
    size = known.chunk_bytes
    spans = [Span(at, min(size, file.size - at)) for at in range(0, file.size, size)]
    found = await sender.ask_job(partial(_hashes, file, spans))
    pairs = zip(found, known.chunks, strict=True)
    return tuple(number for number, (digest, wanted) in enumerate(pairs) if digest.hex() != wanted)


async def _sha256(file: Outgoing, remote: Remote) -> str:
    return await remote.sha256(file.path, file.size)


async def _hashes(file: Outgoing, spans: Sequence[Span], remote: Remote) -> list[bytes]:
    return await remote.hashes(file.path, file.size, spans, final=True)

"""One connection's hands on the destination through SFTP alone, where no program of ours may run there.

Slower than the agent: what is proved has to be read back over the network. Links are looked for before each
use of a path; SFTP cannot exclude that one is planted between the look and the use, so on a host with hostile
users the agent is the one to trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import stat
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pipeline.transfer.agent import PART
from pipeline.transfer.errors import LaneLostError, destination_error
from pipeline.transfer.remote import HOLE, Entry, Proof, Room, Seen, Span, Throttle

if TYPE_CHECKING:
    import asyncssh

#: Bytes per request when reading back.
_BLOCK = 1 << 20


async def open_sftp(
    connection: asyncssh.SSHClientConnection,
    root: str,
    *,
    create: bool = True,
    throttle: Throttle | None = None,
) -> SftpRemote:
    """Start SFTP on a connection and bind it to the destination root.

    Raises:
        LaneLostError: the server offers no SFTP.
        DestinationFullError, RefusedPathError, DestinationError: the root cannot be used.
    """
    import asyncssh

    try:
        client = await connection.start_sftp_client()
    except (OSError, asyncssh.Error) as error:
        raise LaneLostError(f"no SFTP on the destination: {error}") from None
    remote = SftpRemote(connection, client, throttle)
    await remote.bind(root, create=create)
    return remote


class SftpRemote:
    """See `pipeline.transfer.remote.Remote`.

    Args:
        connection: closed with the lane.
        client: its SFTP session.
        throttle: asked before each piece that carries file content.
    """

    kind = "sftp"

    def __init__(self, connection: Any, client: Any, throttle: Throttle | None = None) -> None:
        self._connection = connection
        self._client = client
        self._throttle = throttle
        self._root = ""
        self._host = str(connection.get_extra_info("peername", ("destination",))[0])
        self._open: dict[str, Any] = {}
        self._opening = asyncio.Lock()
        self._moved = time.monotonic()
        self._asked = 0

    async def bind(self, root: str, *, create: bool) -> None:
        """Take `root` as the directory everything is below; made if missing and `create` is set."""
        async with self._answered(root):
            if root == "~" or root.startswith("~/"):
                root = root[2:] or "."
            if create:
                await self._client.makedirs(root, exist_ok=True)
            self._root = str(await self._client.realpath(root))

    async def seen(self, paths: Sequence[str]) -> list[Seen]:
        """Look at files and parts."""
        return [await self._seen(path) for path in paths]

    async def entries(self, directory: str) -> list[Entry]:
        """What lies in one directory below the root."""
        async with self._answered(directory):
            names = await self._client.readdir(self._place(directory) if directory else self._root)
        found = (Entry(str(name.filename), _kind(name.attrs), name.attrs.size or 0) for name in names)
        return sorted(entry for entry in found if entry.name not in (".", ".."))

    async def room(self) -> Room:
        """Free space below the root; the server may not tell, then there is no limit to go by."""
        import asyncssh

        async with self._answered(""):
            try:
                state = await self._client.statvfs(self._root)
            except asyncssh.SFTPOpUnsupported:
                return Room(1 << 62, 1 << 62)
        return Room(state.bavail * state.frsize, state.favail)

    async def write(self, path: str, size: int, offset: int, data: bytes, digest: bytes) -> None:
        """Write into the part of `path`; damage on the way is found when the whole is read back."""
        del digest
        async with self._answered(path):
            file = await self._part(path, size)
            for start in range(0, len(data), _BLOCK):
                piece = data[start : start + _BLOCK]
                if self._throttle:
                    await self._throttle(len(piece))
                await file.write(piece, offset + start)
                self._moved = time.monotonic()

    async def put(self, path: str, data: bytes, sha256: str) -> Proof:
        """Send, prove and publish a small file."""
        await self.write(path, len(data), 0, data, HOLE)
        return await self.finish(path, len(data), sha256)

    async def hashes(self, path: str, size: int, spans: Sequence[Span], *, final: bool) -> list[bytes]:
        """SHA-256 of ranges, read back over the network; HOLE where nothing is."""
        del size
        async with self._answered(path):
            await self._refuse_links(path, "" if final else PART)
            async with self._client.open(self._place(path) + ("" if final else PART), "rb") as file:
                return [await self._span_hash(file, span) for span in spans]

    async def hash_ahead(self, path: str, end: int) -> None:
        """Nothing can be hashed there."""

    async def sha256(self, path: str, size: int) -> str:
        """Hash of the published file, read back over the network."""
        (digest,) = await self.hashes(path, size, [Span(0, size)], final=True)
        return digest.hex() if size else hashlib.sha256().hexdigest()

    async def finish(self, path: str, size: int, sha256: str) -> Proof:
        """Force the part to disk, read it back, publish it if its hash is `sha256`."""
        import asyncssh

        async with self._answered(path):
            file = await self._part(path, size)
            with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
        await self._release(path)
        (digest,) = await self.hashes(path, size, [Span(0, size)], final=False)
        actual = digest.hex() if size else hashlib.sha256().hexdigest()
        if actual != sha256:
            return Proof(actual, None)
        async with self._answered(path):
            await self._refuse_links(path, "")
            await self._client.posix_rename(self._place(path) + PART, self._place(path))
        return Proof(actual, (await self._seen(path)).stamp)

    async def demote(self, path: str) -> None:
        """Turn the published file back into a part."""
        await self._release(path)
        async with self._answered(path):
            await self._refuse_links(path, "")
            await self._client.posix_rename(self._place(path), self._place(path) + PART)

    async def drop(self, path: str) -> None:
        """Remove the part, if any, and directories that are empty then."""
        import asyncssh

        await self._release(path)
        async with self._answered(path):
            with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                await self._refuse_links(path, PART)
                await self._client.remove(self._place(path) + PART)
            with contextlib.suppress(asyncssh.SFTPError):
                for folder in reversed(list(_folders(path))):
                    await self._client.rmdir(self._place(folder))

    def forget(self, path: str) -> None:
        """Release what is kept open for `path`."""
        if path in self._open:
            task = asyncio.ensure_future(self._release(path))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def quiet_for(self) -> float:
        """Seconds since anything moved while an answer is awaited; 0 when none is."""
        return time.monotonic() - self._moved if self._asked else 0.0

    def abort(self) -> None:
        """Break the connection at once."""
        self._connection.abort()

    async def _seen(self, path: str) -> Seen:
        async with self._answered(path):
            file = await self._attributes(path, "")
            part = await self._attributes(path, PART)
        size = file.size if file is not None and _kind(file) == "file" else None
        stamp = f"{file.mtime}.{file.size}" if size is not None and file is not None else ""
        return Seen(size, stamp, part.size if part is not None else None)

    async def _attributes(self, path: str, suffix: str) -> Any:
        import asyncssh

        try:
            return await self._client.lstat(self._place(path) + suffix)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None

    async def _part(self, path: str, size: int) -> Any:
        """The open part of a file, made with its directories when first needed."""
        import asyncssh

        async with self._opening:
            if path in self._open:
                return self._open[path]
            for folder in _folders(path):
                await self._refuse_links(folder, "")
                with contextlib.suppress(asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
                    await self._client.mkdir(self._place(folder))
            await self._refuse_links(path, PART)
            flags = asyncssh.FXF_READ | asyncssh.FXF_WRITE | asyncssh.FXF_CREAT
            file = await self._client.open(self._place(path) + PART, flags, encoding=None)
            if (await file.stat()).size > size:
                await file.truncate(size)
            self._open[path] = file
            return file

    async def _release(self, path: str) -> None:
        file = self._open.pop(path, None)
        if file is not None:
            async with self._answered(path):
                await file.close()

    async def _span_hash(self, file: Any, span: Span) -> bytes:
        digest, at, end = hashlib.sha256(), span.offset, span.offset + span.length
        while at < end:
            block = await file.read(min(_BLOCK, end - at), at)
            self._moved = time.monotonic()
            if not block:
                return HOLE
            digest.update(block)
            at += len(block)
        return digest.digest()

    async def _refuse_links(self, path: str, suffix: str) -> None:
        """Raise OSError(ELOOP) if any step of a path is a link, or its end no plain file or directory."""
        for folder in _folders(path):
            found = await self._attributes(folder, "")
            if found is not None and _kind(found) != "directory":
                raise OSError(errno.ELOOP, "a link or file in the path")
        found = await self._attributes(path, suffix)
        if found is not None and _kind(found) == "other":
            raise OSError(errno.ELOOP, "a link or something else has this name")

    def _place(self, path: str) -> str:
        return f"{self._root}/{path}"

    @asynccontextmanager
    async def _answered(self, path: str) -> AsyncIterator[None]:
        """Turn what SFTP raises into this package's errors."""
        import asyncssh

        self._asked += 1
        self._moved = time.monotonic()
        try:
            yield
        except asyncssh.SFTPError as error:
            if isinstance(error, (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)):
                raise LaneLostError(str(error)) from None
            raise destination_error(_errno(error), path, self._host) from None
        except asyncssh.Error as error:
            raise LaneLostError(str(error) or type(error).__name__) from None
        except OSError as error:
            if isinstance(error, ConnectionError) or not error.errno:
                raise LaneLostError(str(error)) from None
            raise destination_error(error.errno, path, self._host) from None
        finally:
            self._asked -= 1


def _kind(attributes: Any) -> Any:
    mode = attributes.permissions or 0
    return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"


def _folders(path: str) -> Iterator[str]:
    """The directories of a path, outermost first."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])


def _errno(error: Any) -> int:
    """OpenSSH's server says "Failure" for most things, a full disk among them."""
    import asyncssh

    kinds = (
        ((asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath), errno.ENOENT),
        (asyncssh.SFTPPermissionDenied, errno.EACCES),
        (asyncssh.SFTPNoSpaceOnFilesystem, errno.ENOSPC),
        (asyncssh.SFTPQuotaExceeded, errno.EDQUOT),
    )
    return next((number for kind, number in kinds if isinstance(error, kind)), errno.EIO)

"""One connection's hands on the destination through the agent: the normal kind of lane.

The agent's source travels on the command line, so nothing is installed there. Requests are pipelined: each
call sends at once and waits for its own answer, and the agent answers in order.
"""

from __future__ import annotations

import asyncio
import base64
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.transfer import agent
from pipeline.transfer.errors import LaneLostError, NoAgentError, destination_error
from pipeline.transfer.remote import HOLE, Entry, Proof, Room, Seen, Span, Throttle

if TYPE_CHECKING:
    import asyncssh

#: Bytes handed to the connection at a time; the cap is asked for each.
PIECE = 256 << 10
#: What start-up files may print before the agent speaks.
_NOISE = 256 << 10
_START_S = 30.0
#: Paths of one STAT, so that an answer stays small.
_PATHS = 200
#: Requests that carry file content.
_BULK = (agent.WRITE, agent.PUT)


def command() -> str:
    """The command line that starts the agent; contains nothing foreign."""
    source = Path(agent.__file__).read_bytes()
    packed = base64.b64encode(zlib.compress(source, 9)).decode()
    program = f"import base64,zlib;exec(zlib.decompress(base64.b64decode('{packed}')))"
    return f'exec python3 -c "{program}"'


async def open_agent(
    connection: asyncssh.SSHClientConnection,
    root: str,
    *,
    create: bool = True,
    throttle: Throttle | None = None,
) -> AgentRemote:
    """Start the agent on a connection and bind it to the destination root.

    Raises:
        LaneLostError: it did not answer; there may be no Python, or commands are forbidden.
        DestinationFullError, RefusedPathError, DestinationError: the root cannot be used.
    """
    import asyncssh

    try:
        process = await connection.create_process(command(), encoding=None, window=8 << 20)
        remote = AgentRemote(connection, process, throttle)
        async with asyncio.timeout(_START_S):
            await remote.greet(root, create=create)
    except (OSError, asyncssh.Error, TimeoutError, EOFError) as error:
        raise LaneLostError(f"no agent on the destination: {error or type(error).__name__}") from None
    return remote


class AgentRemote:
    """See `pipeline.transfer.remote.Remote`.

    Args:
        connection: closed with the lane.
        process: the started agent, in bytes.
        throttle: asked before each piece.
    """

    kind = "agent"

    def __init__(self, connection: Any, process: Any, throttle: Throttle | None = None) -> None:
        self._connection = connection
        self._process = process
        self._throttle = throttle
        self._host = str(connection.get_extra_info("peername", ("destination",))[0])
        self._waiting: deque[asyncio.Future[_Answer]] = deque()
        self._sending = asyncio.Lock()
        self._slots: dict[tuple[str, bytes], int] = {}
        self._next_slot = 1
        self._moved = time.monotonic()
        self._lost: Exception | None = None
        self._reader: asyncio.Task[None] | None = None

    async def greet(self, root: str, *, create: bool) -> Room:
        """Skip what start-up files print, and take `root` as the directory everything is below.

        The first request goes out before anything is heard: an SFTP server in the agent's place takes it for
        nonsense and ends at once, instead of waiting for ever.
        """
        try:
            bound = await self._send(agent.ROOT, 0, int(create), root.encode("utf-8", "surrogateescape"))
        except LaneLostError:
            raise await self._no_agent() from None
        seen = b""
        while agent.MAGIC not in seen:
            if len(seen) > _NOISE:
                raise LaneLostError("start-up files on the destination print without end")
            more = await self._process.stdout.read(4096)
            if not more:
                raise await self._no_agent()
            seen += more
        self._reader = asyncio.create_task(self._read(seen.partition(agent.MAGIC)[2]))
        return Room(*agent.SPACE.unpack((await bound).check(root, self._host).payload))

    async def _no_agent(self) -> NoAgentError:
        """What the destination said instead of running the agent."""
        told = (await self._process.stderr.read(2000)).decode(errors="replace").strip()
        return NoAgentError(f"no agent on the destination: {told or 'it ended at once'}")

    async def seen(self, paths: Sequence[str]) -> list[Seen]:
        """Look at files and parts."""
        found: list[Seen] = []
        for start in range(0, len(paths), _PATHS):
            group = paths[start : start + _PATHS]
            answer = await self._ask(agent.STAT, 0, 0, b"\0".join(map(_encoded, group)))
            answer.check(group[0], self._host)
            found += [_seen(*entry) for entry in agent.ENTRY.iter_unpack(answer.payload)]
        return found

    async def entries(self, directory: str) -> list[Entry]:
        """What lies in one directory below the root."""
        answer = await self._ask(agent.LIST, 0, 0, _encoded(directory))
        return list(_entries(answer.check(directory, self._host).payload))

    async def room(self) -> Room:
        """Free space below the root."""
        answer = await self._ask(agent.FREE, 0, 0, b"")
        return Room(*agent.SPACE.unpack(answer.check("", self._host).payload))

    async def write(self, path: str, size: int, offset: int, data: bytes, digest: bytes) -> None:
        """Write into the part of `path`, acknowledged after it is written."""
        slot, opening = await self._slot(path, size, agent.CREATE)
        answer = await self._ask(agent.WRITE, slot, offset, data, digest)
        await self._opened(opening, path)
        if answer.status == agent.DIFFERS:
            raise LaneLostError(f"{path}: bytes changed on the way")
        answer.check(path, self._host)

    async def put(self, path: str, data: bytes, sha256: str) -> Proof:
        """Send, prove and publish a whole file in one exchange."""
        name = _encoded(path)
        answer = await self._ask(agent.PUT, 0, len(name), name + data, bytes.fromhex(sha256))
        return self._proof(answer, path)

    async def hashes(self, path: str, size: int, spans: Sequence[Span], *, final: bool) -> list[bytes]:
        """SHA-256 of ranges on disk; HOLE where nothing was written."""
        slot, opening = await self._slot(path, size, agent.FINAL if final else agent.PART_ONLY)
        asked = b"".join(agent.RANGE.pack(*span) for span in spans)
        answer = await self._ask(agent.HASHES, slot, 0, asked)
        await self._opened(opening, path)
        payload = answer.check(path, self._host).payload
        return [payload[at : at + len(HOLE)] for at in range(0, len(payload), len(HOLE))]

    async def hash_ahead(self, path: str, end: int) -> None:
        """Hash the part up to `end` while other chunks are still on their way."""
        slot = self._slots.get((path, agent.CREATE))
        if slot is not None:
            (await self._ask(agent.ADVANCE, slot, end, b"")).check(path, self._host)

    async def sha256(self, path: str, size: int) -> str:
        """Hash of the published file, read back from disk."""
        slot, opening = await self._slot(path, size, agent.FINAL)
        answer = await self._ask(agent.ADVANCE, slot, size, b"")
        await self._opened(opening, path)
        answer.check(path, self._host)
        self._close(path, agent.FINAL)
        return answer.digest.hex()

    async def finish(self, path: str, size: int, sha256: str) -> Proof:
        """Fsync the part, hash it from disk, publish it if that is `sha256`."""
        slot, opening = await self._slot(path, size, agent.CREATE)
        answer = await self._ask(agent.FINISH, slot, size, b"", bytes.fromhex(sha256))
        await self._opened(opening, path)
        if answer.status == agent.OK:
            self._slots.pop((path, agent.CREATE), None)
        return self._proof(answer, path)

    async def demote(self, path: str) -> None:
        """Turn the published file back into a part."""
        self.forget(path)
        (await self._ask(agent.DEMOTE, 0, 0, _encoded(path))).check(path, self._host)

    async def drop(self, path: str) -> None:
        """Remove the part, if any, and directories that are empty then."""
        self.forget(path)
        (await self._ask(agent.DROP, 0, 0, _encoded(path))).check(path, self._host)

    def forget(self, path: str) -> None:
        """Release what is kept open for `path`."""
        for mode in (agent.CREATE, agent.PART_ONLY, agent.FINAL):
            self._close(path, mode)

    def quiet_for(self) -> float:
        """Seconds since anything moved while an answer is awaited; 0 when none is."""
        return time.monotonic() - self._moved if self._waiting else 0.0

    def abort(self) -> None:
        """Break the connection at once."""
        self._lose(LaneLostError("connection given up"))
        self._connection.abort()

    async def close(self) -> None:
        """End the agent and the connection in good order."""
        self._process.stdin.write_eof()
        self._connection.close()
        await self._connection.wait_closed()
        if self._reader:
            self._reader.cancel()

    async def _slot(self, path: str, size: int, mode: bytes) -> tuple[int, asyncio.Future[_Answer] | None]:
        """The slot of an open file; opens it with a request that nobody waits for yet."""
        known = self._slots.get((path, mode))
        if known is not None:
            return known, None
        number, self._next_slot = self._next_slot, self._next_slot + 1
        self._slots[path, mode] = number
        return number, await self._send(agent.OPEN, number, size, mode + _encoded(path))

    async def _opened(self, opening: asyncio.Future[_Answer] | None, path: str) -> None:
        if opening is not None:
            answer = await opening
            if answer.status == agent.ERROR:
                self.forget(path)
            answer.check(path, self._host)

    def _close(self, path: str, mode: bytes) -> None:
        slot = self._slots.pop((path, mode), None)
        if slot is not None and self._lost is None:
            task = asyncio.ensure_future(self._send(agent.CLOSE, slot, 0, b""))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _proof(self, answer: _Answer, path: str) -> Proof:
        if answer.status == agent.DIFFERS:
            return Proof(answer.digest.hex(), None)
        answer.check(path, self._host)
        return Proof(answer.digest.hex(), _seen(*agent.ENTRY.unpack(answer.payload)).stamp)

    async def _ask(self, op: int, slot: int, offset: int, data: bytes, digest: bytes = HOLE) -> _Answer:
        return await (await self._send(op, slot, offset, data, digest))

    async def _send(
        self, op: int, slot: int, offset: int, data: bytes, digest: bytes = HOLE
    ) -> asyncio.Future[_Answer]:
        import asyncssh

        async with self._sending:  # requests are whole: no other's pieces in between
            if self._lost:
                raise LaneLostError(str(self._lost))
            answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            if not self._waiting:
                self._moved = time.monotonic()
            self._waiting.append(answer)
            stdin = self._process.stdin
            try:
                stdin.write(agent.HEADER.pack(op, slot, offset, len(data), digest))
                view = memoryview(data)
                for start in range(0, len(data), PIECE):
                    piece = view[start : start + PIECE]
                    if self._throttle and op in _BULK:
                        await self._throttle(len(piece))
                    stdin.write(bytes(piece))
                    await stdin.drain()
                    self._moved = time.monotonic()
            except asyncio.CancelledError:
                self.abort()  # half a request is on the wire; nothing after it could be understood
                raise
            except (OSError, asyncssh.Error) as error:
                self._lose(error)
                raise LaneLostError(str(error) or type(error).__name__) from None
        return answer

    async def _read(self, begun: bytes) -> None:
        import asyncssh

        stdout = self._process.stdout
        buffer = bytearray(begun)
        size = agent.HEADER.size
        try:
            while True:
                while len(buffer) < size:
                    buffer += await _more(stdout)
                status, _, offset, length, digest = agent.HEADER.unpack_from(buffer)
                if length > _LONGEST_ANSWER or status > agent.DIFFERS or not self._waiting:
                    raise LaneLostError("the destination talks nonsense")
                while len(buffer) < size + length:
                    buffer += await _more(stdout)
                payload = bytes(buffer[size : size + length])
                del buffer[: size + length]
                self._moved = time.monotonic()
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(_Answer(status, offset, digest, payload))
        except (OSError, asyncssh.Error, EOFError, LaneLostError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._lost = self._lost or error
        told = str(error) or type(error).__name__
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(LaneLostError(told))


#: An agent answers at most with the hashes or entries of one request.
_LONGEST_ANSWER = 4 << 20


class _Answer:
    """What the agent said to one request."""

    __slots__ = ("digest", "offset", "payload", "status")

    def __init__(self, status: int, offset: int, digest: bytes, payload: bytes) -> None:
        self.status = status
        self.offset = offset
        self.digest = digest
        self.payload = payload

    def check(self, path: str, host: str) -> _Answer:
        """Raise what an ERROR means; `offset` is the errno then."""
        if self.status == agent.ERROR:
            raise destination_error(self.offset, path, host)
        return self


async def _more(stdout: Any) -> bytes:
    data: bytes = await stdout.read(64 << 10)
    if not data:
        raise EOFError("the destination closed the connection")
    return data


def _entries(payload: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(payload):
        kind, size, length = agent.NAMED.unpack_from(payload, at)
        at += agent.NAMED.size
        name = payload[at : at + length].decode("utf-8", "surrogateescape")
        at += length
        yield Entry(name, "file" if kind == 1 else "directory" if kind == 2 else "other", size)


def _seen(kind: int, size: int, mtime_ns: int, inode: int, part: int) -> Seen:
    is_file = kind == 1
    return Seen(
        size if is_file else None,
        f"{mtime_ns}.{inode}" if is_file else ("other" if kind else ""),
        part if part >= 0 else None,
    )


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")

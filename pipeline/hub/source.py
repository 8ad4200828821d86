"""Ranges of the dataset's files, from the Hub or the storage it points to.

huggingface_hub resolves a path (token, gate, redirects); the bytes then come straight from the signed
link. They come by aiohttp: it is a dependency already and asynchronous, whereas the HTTP library inside
huggingface_hub changes with its major version.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct

from pipeline.engine.errors import DamagedFileError, UnreachableError
from pipeline.hub.errors import explained, hub_errors
from pipeline.hub.types import RemoteFile

#: Statuses that another try may cure.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})

BLOCK = 1 << 18


class TransientError(Exception):
    """A request failed in a way that another try may cure.

    Args:
        reason: one of `rate_limited`, `server_error`, `link_expired`, `stalled`, `disconnected`,
            `truncated`, `wrong_range`, `unreachable`.
        detail: what was seen.
        wait: seconds the server asked to wait; 0 tries again at once, None leaves it to the caller.
    """

    def __init__(self, reason: str, detail: str, wait: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.wait = wait


class Location(Struct, frozen=True):
    """Where a file's bytes can be had now.

    Attributes:
        url: signed link, or the Hub itself for files that are not in LFS.
        size: bytes, as the Hub says; None if it does not.
        sha256: of an LFS file; None for others.
        on_hub: whether the request must carry the token.
    """

    url: str
    size: int | None
    sha256: str | None
    on_hub: bool


class HubSource:
    """One dataset at one commit; use as an async context manager, shared by all downloads.

    Args:
        repo_id: `namespace/name`.
        revision: commit.
        endpoint: Hub address; empty is huggingface_hub's own.
        stall_s: seconds without a byte after which a request counts as stalled.
        connections: most connections at a time.
    """

    def __init__(
        self,
        repo_id: str,
        revision: str,
        *,
        endpoint: str = "",
        stall_s: float = 30.0,
        connections: int = 16,
    ) -> None:
        self.repo_id = repo_id
        self.revision = revision
        self._endpoint = endpoint or None
        self._stall_s = stall_s
        self._connections = connections
        self._locations: dict[str, Location] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._quiet_until = 0.0

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._stall_s)
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=connector, auto_decompress=False, read_bufsize=4 * BLOCK
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def sha256(self, path: str) -> str | None:
        """The LFS hash that the Hub gives for `path`; None for a file that is not in LFS."""
        return (await self._locate(path)).sha256

    @asynccontextmanager
    async def range(self, file: RemoteFile, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Bytes `start` to `end` (excluded) of `file`, in blocks.

        The caller counts them: a connection may end early without an error.

        Raises:
            TransientError: try again.
            NoPermissionError, NotFoundError: the Hub refuses, or has no such file; do not.
            DamagedFileError: the Hub's size or hash of the file is not the one selected.
        """
        await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
        location = await self._locate(file.path)
        self._compare(file, location)
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        if location.on_hub:
            headers |= await asyncio.to_thread(_token_headers)
        try:
            async with self._session.get(location.url, headers=headers, allow_redirects=False) as answer:
                self._check(answer, file, start, end)
                yield answer.content.iter_any()
        except TimeoutError:
            raise TransientError("stalled", f"no byte for {self._stall_s:g} s") from None
        except aiohttp.ClientError as error:
            raise TransientError("disconnected", str(error) or type(error).__name__) from None

    async def _locate(self, path: str) -> Location:
        """The current link of `path`; asked for once, and again after `_forget`."""
        async with self._locks.setdefault(path, asyncio.Lock()):
            if path not in self._locations:
                self._locations[path] = await asyncio.to_thread(self._resolve, path)
            return self._locations[path]

    def _resolve(self, path: str) -> Location:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError

        url = hf_hub_url(
            self.repo_id, path, repo_type="dataset", revision=self.revision, endpoint=self._endpoint
        )
        doing = f"{self.repo_id}/{path}"
        try:
            with hub_errors(doing):
                found = get_hf_file_metadata(url)
        except UnreachableError as error:
            cause = error.__cause__
            if not isinstance(cause, HfHubHTTPError):
                raise TransientError("unreachable", str(error)) from None
            status, told = cause.response.status_code, cause.response.headers
            if status in TRANSIENT:
                raise self._transient(status, told) from None
            raise explained(cause, doing) from None
        is_lfs = found.etag is not None and len(found.etag) == 64
        return Location(
            url=found.location,
            size=found.size,
            sha256=found.etag if is_lfs else None,
            on_hub=urlsplit(found.location)[:2] == urlsplit(url)[:2],
        )

    def _compare(self, file: RemoteFile, location: Location) -> None:
        """Refuse a file that is not the selected one before any byte of it is moved."""
        if location.size is not None and location.size != file.size:
            raise DamagedFileError(
                f"{file.path}: the Hub has {location.size} bytes, the selection says {file.size}",
                hint="select again at this revision",
            )
        if file.sha256 and location.sha256 and location.sha256 != file.sha256:
            raise DamagedFileError(
                f"{file.path}: the Hub has sha256 {location.sha256[:12]}..., the selection says "
                f"{file.sha256[:12]}...",
                hint="select again at this revision",
            )

    def _check(self, answer: aiohttp.ClientResponse, file: RemoteFile, start: int, end: int) -> None:
        status = answer.status
        if status in TRANSIENT:
            raise self._transient(status, answer.headers)
        if status == 206:
            told = answer.headers.get("Content-Range", "")
            if told == f"bytes {start}-{end - 1}/{file.size}":
                return
            raise TransientError("wrong_range", f"asked for {start}-{end - 1}, got {told[:80]!r}")
        if status == 200 and (start, end) == (0, file.size):
            return
        # A signed link that is no longer good, or a token that no longer opens the gate: resolving again
        # tells which, and raises what is final.
        self._locations.pop(file.path, None)
        raise TransientError("link_expired", f"HTTP {status}", wait=0.0 if status in (401, 403) else None)

    def _transient(self, status: int, headers: Mapping[str, str]) -> TransientError:
        wait = retry_after(headers.get("Retry-After", ""))
        if wait is not None:
            self._quiet_until = max(self._quiet_until, time.monotonic() + wait)
        return TransientError("rate_limited" if status == 429 else "server_error", f"HTTP {status}", wait)


def retry_after(header: str) -> float | None:
    """Seconds that a Retry-After header (a number or a date) asks to wait, at most an hour."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), 3600.0)


def _token_headers() -> dict[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}

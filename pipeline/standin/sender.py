"""Sending the bytes of a file: ranges, a slow link, and the failures planted for it."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from aiohttp import web

from pipeline.standin.faults import Fault, Faults
from pipeline.standin.repository import Entry

BLOCK = 1 << 18

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Span(NamedTuple):
    """Bytes `start` to `end` (excluded) of a file, and the status they are answered with."""

    start: int
    end: int
    status: int


class Sender:
    """Answers requests for content.

    Args:
        faults: failures to meet on the way.
        bytes_per_second: speed shared by all answers; None is unlimited.
    """

    def __init__(self, faults: Faults, bytes_per_second: float | None) -> None:
        self._faults = faults
        self.bytes_per_second = bytes_per_second
        self._free_at = 0.0

    async def send(self, request: web.Request, entry: Entry, headers: dict[str, str]) -> web.StreamResponse:
        """Answer a HEAD or GET for `entry`, whole or the range asked for."""
        span = asked_span(request.headers.get("Range", ""), entry.size)
        if span is None:
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{entry.size}"})
        start, end, status = span
        if status == 206:
            headers = {**headers, "Content-Range": f"bytes {start}-{end - 1}/{entry.size}"}
        fault = self._faults.body(entry.path, start, end) if request.method == "GET" else None
        if fault and fault.how == "short":
            end = fault.at
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = "application/octet-stream"
        response.content_length = end - start
        await response.prepare(request)
        if request.method == "GET":
            for position, data in _blocks(entry, start, end):
                hit = fault if fault and position <= fault.at < position + len(data) else None
                if hit and hit.how != "flip":
                    await response.write(data[: hit.at - position])
                    await _break(request, hit)
                    return response
                if hit:
                    data[hit.at - position] ^= 1
                await self._pace(len(data))
                await response.write(data)
        await response.write_eof()
        return response

    async def _pace(self, size: int) -> None:
        if self.bytes_per_second:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + size / self.bytes_per_second
            await asyncio.sleep(self._free_at - now)


def asked_span(header: str, size: int) -> Span | None:
    """The bytes that a Range header asks for; None if they do not exist."""
    match = _RANGE.fullmatch(header)
    if not match or match[1] == match[2] == "":
        return Span(0, size, 200)
    if match[1] == "":
        return Span(max(0, size - int(match[2])), size, 206)
    start = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    return Span(start, end, 206) if start < end else None


def failing(fault: Fault) -> web.Response:
    """The answer of a planted status."""
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    return web.Response(status=fault.status, headers=headers)


def _blocks(entry: Entry, start: int, end: int) -> Iterator[tuple[int, bytearray]]:
    with entry.file.open("rb") as stream:
        stream.seek(start)
        while start < end:
            data = bytearray(stream.read(min(BLOCK, end - start)))
            yield start, data
            start += len(data)


async def _break(request: web.Request, fault: Fault) -> None:
    if fault.how == "stall":
        await asyncio.sleep(3600)
    transport = request.transport
    if transport is None:
        return
    if fault.how == "reset":
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    transport.close()

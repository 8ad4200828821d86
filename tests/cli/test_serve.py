"""The console in a browser: the page, and a key that changes the picture, over the real server."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

PATIENCE_S = 60.0


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """`host:port` of a server on a workspace with one run that was never started."""
    (tmp_path / "xops.toml").write_text("")
    new = [sys.executable, "-P", "-m", "console", "run", "new", "demo"]
    subprocess.run(new, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-P", "-m", "console", "serve", "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    server.send_signal(signal.SIGINT)
    out, _ = server.communicate(timeout=PATIENCE_S)
    assert out == b"", "stdout is for data"


async def page(session: aiohttp.ClientSession, address: str) -> str:
    while True:
        try:
            async with session.get(f"http://{address}/") as answer:
                return await answer.text()
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)


async def until(socket: aiohttp.ClientWebSocketResponse, wanted: bytes) -> None:
    """Read pictures until one shows `wanted`."""
    seen = b""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            seen += message.data
            if wanted in seen:
                return
    raise AssertionError(f"the server closed before {wanted!r} was shown")


async def test_a_key_in_the_browser_changes_the_picture(address: str) -> None:
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
        assert "xops" in await page(session, address)
        async with session.ws_connect(f"ws://{address}/ws?width=100&height=30") as browser:
            await until(browser, b"blocked")
            await browser.send_json(["stdin", "9"])
            await until(browser, b"Human")

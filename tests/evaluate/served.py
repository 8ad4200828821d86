"""A server of the OpenAI interface whose every answer a test decides."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


def completion(text: str | None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 7},
        **more,
    }


class Served:
    """What the server does and saw.

    Attributes:
        answer: body of a chat request, its number from 0 -> status and JSON or bytes.
        cards: what it lists; None for a server without a list.
        seconds: that every answer takes.
        requests: (path, headers, body) of everything asked.
        most_open: chat requests at once.
    """

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], int], tuple[int, Any]] = lambda body, number: (
            200,
            completion("{}"),
        )
        self.cards: list[dict[str, Any]] | None = [{"id": "thinker"}]
        self.headers: dict[str, str] = {}
        self.seconds = 0.0
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.address = ""
        self.most_open = self._open = 0

    @property
    def chats(self) -> list[dict[str, Any]]:
        return [body for path, _, body in self.requests if path.endswith("/completions")]

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.method == "POST" else None
        number = len(self.chats)
        self.requests.append((request.path, dict(request.headers), body))
        if request.path == "/v1/models":
            if self.cards is None:
                return web.Response(status=404, text="no such page")
            return web.json_response({"object": "list", "data": self.cards})
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            await asyncio.sleep(self.seconds)
            status, said = self.answer(body, number)
        finally:
            self._open -= 1
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        return web.Response(status=status, body=data, headers=self.headers)


@contextmanager
def serving() -> Iterator[Served]:
    """A server on a free port of this machine, gone afterwards."""
    served = Served()
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{rest:.*}", served.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        served.address = f"http://127.0.0.1:{port}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()

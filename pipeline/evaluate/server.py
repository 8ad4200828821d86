"""A server of the OpenAI interface (vLLM, SGLang, others): patience, limits, and whose fault it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from pipeline.engine.errors import ConfigError, NoPermissionError, UnreachableError
from pipeline.evaluate.chat import NOT_JSON, UnusableReplyError

#: How often one request is sent while the server is busy, failing or away.
TRIES = 4

#: Seconds before the second try, doubled for each further one, and the longest a server may ask for.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

#: Largest response that is read, bytes.
LARGEST = 8 << 20

#: Most of a server's own words that an error repeats, characters.
_SHOWN = 300


class UnansweredError(UnreachableError):
    """The server was silent, busy or failing for one request, through all tries."""


class Card(Struct, frozen=True):
    """A model as the server lists it.

    Attributes:
        id: its name.
        root: where its weights come from, if the server says.
        parent: base of an adapter, if the server says.
    """

    id: str
    root: str | None = None
    parent: str | None = None


class Server:
    """One server; use it from one event loop.

    Args:
        address: `http://host:port/v1`.
        token: sent as bearer; empty for none. It is in no message of this class.
        connections: open at once.
        timeout_s: of one request.

    Raises:
        ConfigError: the address is no plain http(s) address.
    """

    def __init__(self, address: str, *, token: str, connections: int, timeout_s: float) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                f"{address!r} is no server's address", hint="--set eval.server=http://HOST:PORT/v1"
            )
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                "the server's address holds credentials, and it would be stored with the run",
                hint="put the token into the environment variable that token_variable names",
            )
        self.address = address.rstrip("/")
        self._token, self._connections, self._timeout_s = token, connections, timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def models(self) -> list[Card]:
        """The models it serves.

        Raises:
            UnreachableError: it is not there.
            NoPermissionError: it wants another token.
            UnusableReplyError: it has no such list.
        """
        data = await self._call("GET", "models", None)
        try:
            return msgspec.json.decode(data, type=_Cards).data
        except NOT_JSON as error:
            raise UnusableReplyError(f"{self.address}/models is no list of models: {error}") from None

    async def complete(self, body: Mapping[str, Any]) -> bytes:
        """The response to a chat completion.

        Raises:
            UnansweredError: see there.
            NoPermissionError: it wants another token.
            UnusableReplyError: it refuses this request, or says too much.
        """
        return await self._call("POST", "chat/completions", body)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> bytes:
        reason, pause = "", 0.0
        for number in range(TRIES):
            await asyncio.sleep(pause)
            pause = FIRST_PAUSE_S * 2**number * random.uniform(0.5, 1.5)
            try:
                status, data, asked = await self._once(method, path, body)
            except TimeoutError:  # it was given all its time; asking again at once would double its load
                reason = f"no answer within {self._timeout_s:g} s"
                break
            except aiohttp.ClientError as error:
                reason = self._told(str(error) or type(error).__name__)
                continue
            if status == 200:
                return data
            said = self._told(data.decode("utf-8", "replace"))
            if status in {401, 403}:
                raise NoPermissionError(
                    f"{self.address} refuses the token ({status}): {said}",
                    hint="set the environment variable that token_variable names",
                )
            if status != 429 and status < 500:
                raise UnusableReplyError(f"{self.address}/{path} answers {status}: {said}")
            reason = f"answers {status}: {said}"
            pause = max(pause, asked)
        raise UnansweredError(f"{self.address}/{path}: {reason}", hint=f"curl {self.address}/models")

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes, float]:
        """Status, body, and for how many seconds the server asks to be left alone."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={"Authorization": f"Bearer {self._token}"} if self._token else None,
            )
        address = f"{self.address}/{path}"
        async with self._session.request(method, address, json=body, allow_redirects=False) as response:
            data = bytearray()
            async for part in response.content.iter_any():
                data += part
                if len(data) > LARGEST:
                    raise UnusableReplyError(f"{address} sends more than {LARGEST >> 20} MiB")
            return response.status, bytes(data), _seconds(response.headers.get("Retry-After", ""))

    def _told(self, text: str) -> str:
        """A server's own words, short, on one line, and without the token if it repeats it."""
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            text = str(json.loads(text)["error"]["message"])
        if self._token:
            text = text.replace(self._token, "***")
        return " ".join(text.split())[:_SHOWN]


class _Cards(Struct):
    data: list[Card]


def _seconds(header: str) -> float:
    try:
        return min(max(float(header), 0.0), LONGEST_PAUSE_S)
    except ValueError:  # absent, or a date
        return 0.0

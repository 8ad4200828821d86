"""A Hugging Face Hub for one dataset, served from a directory.

The unmodified huggingface_hub client talks to it through its endpoint setting: dataset info, recursive
tree with paging, paths-info, resolve with LFS redirects to signed links that expire, whoami, the gate's
401 and 403. Failures of `pipeline.standin.faults` can be planted by path and byte, and the link slowed.
It does not speak Xet; clients with hf-xet fall back to plain downloads.

It is the demo's Hub and the tests'. In a coroutine: `async with StandinHub(root) as hub: hub.endpoint`.
From ordinary code: `with standin_hub(root) as hub`. As a process: `python -m pipeline.standin.hub DIR`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from aiohttp import web

from pipeline.standin.faults import Faults
from pipeline.standin.repository import Repository
from pipeline.standin.sender import Sender, failing

Access = Literal["granted", "pending"]

REPO_ID = "standin/xperience-10m"
TOKEN = "hf_standin"  # noqa: S105 - opens nothing but a stand-in


class Request(NamedTuple):
    """One request as the server saw it; `range` is the header or ""."""

    method: str
    path: str
    range: str
    authorized: bool


class StandinHub:
    """The server; see the module's docstring.

    Args:
        root: directory whose files are the dataset.
        repo_id: the one dataset there is.
        accounts: token -> state of its access request; a token not listed is invalid.
        gated: whether files need a granted token.
        port: of the Hub; 0 takes a free one.
        link_seconds: how long a signed link stays valid.
        page: entries per page of a tree listing.
        bytes_per_second: speed of the link, shared by all downloads; None is unlimited.
        only_listed: (path, size) pairs that are listed but have no content.
    """

    def __init__(
        self,
        root: Path,
        *,
        repo_id: str = REPO_ID,
        accounts: dict[str, Access] | None = None,
        gated: bool = True,
        port: int = 0,
        link_seconds: float = 3600.0,
        page: int = 1000,
        bytes_per_second: float | None = None,
        only_listed: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.repository = Repository(root, only_listed)
        self.repo_id = repo_id
        self.accounts: dict[str, Access] = {TOKEN: "granted"} if accounts is None else accounts
        self.gated = gated
        self.link_seconds = link_seconds
        self.page = page
        self.faults = Faults()
        self.sender = Sender(self.faults, bytes_per_second)
        self.requests: list[Request] = []
        self.endpoint = ""
        self._storage = ""
        self._port = port
        self._key = secrets.token_bytes(16)
        self._runner = web.AppRunner(
            self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.2
        )

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._front])
        dataset = "/api/datasets/{ns}/{name}"
        app.add_routes(
            [
                web.get(dataset, self._info),
                web.get(dataset + "/revision/{revision}", self._info),
                web.get(dataset + "/tree/{revision}", self._tree),
                web.get(dataset + "/tree/{revision}/{path:.+}", self._tree),
                web.post(dataset + "/paths-info/{revision}", self._paths_info),
                web.get(dataset + "/auth-check", self._auth_check),
                web.get("/datasets/{ns}/{name}/resolve/{revision}/{path:.+}", self._resolve),
                web.get("/api/whoami-v2", self._whoami),
                web.get("/storage/{sha256}", self._link),
            ]
        )
        return app

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        # Storage is another origin, as on the real Hub: clients must not send the token there.
        self.endpoint = await self._listen(self._port)
        self._storage = await self._listen(0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _listen(self, port: int) -> str:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        await web.SockSite(self._runner, listener).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    @web.middleware
    async def _front(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        authorized = "Authorization" in request.headers
        ranges = request.headers.get("Range", "")
        self.requests.append(Request(request.method, request.path, ranges, authorized))
        fault = self.faults.status(request.match_info.get("path", request.path))
        return failing(fault) if fault else await handler(request)

    # Who asks, and for what.

    def _token(self, request: web.Request) -> str | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" and token else None

    def _refused(self, request: web.Request, *, gated: bool) -> web.Response | None:
        """The error a request for the dataset gets: bad token, unknown name or revision, closed gate."""
        token = self._token(request)
        if token is not None and token not in self.accounts:
            return _error(401, "", "Invalid credentials in Authorization header")
        if "{ns}/{name}".format(**request.match_info) != self.repo_id:
            return _error(404 if token else 401, "RepoNotFound", "Repository not found")
        if request.match_info.get("revision", "main") not in ("main", self.repository.commit):
            return _error(404, "RevisionNotFound", "Invalid rev id")
        return self._gate(token) if gated and self.gated else None

    def _gate(self, token: str | None) -> web.Response | None:
        text = f"Access to dataset {self.repo_id} is restricted"
        if token is None:
            return _error(401, "GatedRepo", f"{text}. You must be authenticated to access it.")
        if self.accounts[token] != "granted":
            return _error(403, "GatedRepo", f"{text} and you are not in the authorized list.")
        return None

    async def _whoami(self, request: web.Request) -> web.Response:
        if self._token(request) not in self.accounts:
            return _error(401, "", "Invalid credentials in Authorization header")
        token = {"displayName": "standin", "role": "read", "createdAt": "2026-01-01T00:00:00.000Z"}
        auth = {"type": "access_token", "accessToken": token}
        return web.json_response({"type": "user", "id": "1", "name": "operator", "orgs": [], "auth": auth})

    async def _auth_check(self, request: web.Request) -> web.Response:
        return self._refused(request, gated=True) or web.json_response({})

    # What there is.

    async def _info(self, request: web.Request) -> web.Response:
        if refused := self._refused(request, gated=False):
            return refused
        details = request.query.get("blobs", "").lower() in ("true", "1")
        entries = self.repository.listed
        info = {
            "_id": "0" * 24,
            "id": self.repo_id,
            "author": self.repo_id.split("/")[0],
            "sha": self.repository.commit,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "private": False,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [entry.sibling(details=details) for entry in entries],
        }
        return web.json_response(info)

    async def _tree(self, request: web.Request) -> web.Response:
        if refused := self._refused(request, gated=False):
            return refused
        below = request.match_info.get("path", "").strip("/")
        recursive = request.query.get("recursive", "").lower() in ("true", "1")
        records = self.repository.tree(below, recursive=recursive)
        if below and not records:
            return _error(404, "EntryNotFound", f"{below} does not exist")
        start = int(request.query.get("cursor", 0))
        headers = {}
        if start + self.page < len(records):
            following = request.url.update_query(cursor=str(start + self.page))
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(records[start : start + self.page], headers=headers)

    async def _paths_info(self, request: web.Request) -> web.Response:
        if refused := self._refused(request, gated=False):
            return refused
        if "json" in request.content_type:
            asked = (await request.json())["paths"]
        else:
            asked = [str(value) for value in (await request.post()).getall("paths")]
        known = self.repository.by_path
        return web.json_response([known[path].tree_record() for path in asked if path in known])

    # The bytes.

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused(request, gated=True):
            return refused
        entry = self.repository.by_path.get(request.match_info["path"])
        headers = {"X-Repo-Commit": self.repository.commit, "Accept-Ranges": "bytes"}
        if entry is None:
            return _error(404, "EntryNotFound", "Entry not found", headers)
        headers["ETag"] = f'"{entry.etag}"'
        if not entry.lfs:
            return await self.sender.send(request, entry, headers)
        expires = f"{time.time() + self.link_seconds:.3f}"
        location = f"{self._storage}/storage/{entry.sha256}?expires={expires}"
        headers |= {
            "X-Linked-Size": str(entry.size),
            "X-Linked-Etag": f'"{entry.sha256}"',
            "Location": f"{location}&signature={self._signature(entry.sha256, expires)}",
        }
        return web.Response(status=302, headers=headers)

    async def _link(self, request: web.Request) -> web.StreamResponse:
        sha256, expires = request.match_info["sha256"], request.query.get("expires", "")
        signature = request.query.get("signature", "")
        if not hmac.compare_digest(signature, self._signature(sha256, expires)):
            return web.Response(status=403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if float(expires) < time.time():
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        if "Authorization" in request.headers:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        entry = self.repository.by_sha256[sha256]
        if fault := self.faults.status(entry.path):
            return failing(fault)
        return await self.sender.send(request, entry, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})

    def _signature(self, sha256: str, expires: str) -> str:
        return hmac.new(self._key, f"{sha256} {expires}".encode(), hashlib.sha256).hexdigest()


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    told = {**(headers or {}), "X-Error-Message": message}
    if code:
        told["X-Error-Code"] = code
    return web.json_response({"error": message}, status=status, headers=told)


@contextmanager
def standin_hub(root: Path, **options: Any) -> Iterator[StandinHub]:
    """Serve `root` from a thread of its own; `options` are those of `StandinHub`."""
    hub = StandinHub(root, **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="standin-hub", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(hub.__aenter__(), loop).result()
        yield hub
    finally:
        asyncio.run_coroutine_threadsafe(hub.__aexit__(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


def main(argv: list[str] | None = None) -> None:
    """Serve a directory until interrupted; the first line on stdout is JSON with the endpoint."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.standin.hub", description=main.__doc__)
    parser.add_argument("root", type=Path, help="directory whose files are the dataset")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--repo-id", default=REPO_ID)
    parser.add_argument("--token", default=TOKEN, help="the one account's token")
    parser.add_argument("--open", action="store_true", help="no gate: files need no token")
    parser.add_argument("--grant-after", type=float, default=0.0, help="seconds the access stays pending")
    parser.add_argument("--mib-per-second", type=float, help="speed of the link")
    parser.add_argument("--idle-exit", type=float, default=0.0, help="seconds without a request to end after")
    options = parser.parse_args(argv)
    if not options.root.is_dir():
        parser.error(f"{options.root} is not a directory")
    try:
        asyncio.run(_serve(options))
    except KeyboardInterrupt:
        sys.exit(130)


async def _serve(options: argparse.Namespace) -> None:
    accounts: dict[str, Access] = {options.token: "pending" if options.grant_after else "granted"}
    async with StandinHub(
        options.root,
        repo_id=options.repo_id,
        accounts=accounts,
        gated=not options.open,
        port=options.port,
        bytes_per_second=options.mib_per_second and options.mib_per_second * (1 << 20),
    ) as hub:
        started = {"endpoint": hub.endpoint, "repo_id": hub.repo_id, "revision": hub.repository.commit}
        sys.stdout.write(json.dumps(started) + "\n")
        sys.stdout.flush()
        if options.grant_after:
            await asyncio.sleep(options.grant_after)
            accounts[options.token] = "granted"
        await _until_idle(hub, options.idle_exit)


async def _until_idle(hub: StandinHub, seconds: float) -> None:
    """Return once no request came for `seconds`; with 0 never."""
    seen = -1
    while not seconds or len(hub.requests) != seen:
        seen = len(hub.requests)
        await asyncio.sleep(seconds or 3600.0)


if __name__ == "__main__":
    main()

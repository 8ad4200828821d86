"""Preflight: is everything there that the relay will need, and if not, what to type.

Every row is one question about one host. Nothing is changed and no secret is shown; the key, when it is
missing, is made by `pipeline.hub.keys.ensure_key` on the operator's own command.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec import Struct

from pipeline.engine.errors import NoPermissionError, NotFoundError, UnreachableError, XopsError
from pipeline.hub import names
from pipeline.hub.access import Access, probe_access
from pipeline.hub.keys import DEFAULT_KEY, read_key
from pipeline.hub.relay_plan import RelayPlan
from pipeline.hub.remote_facts import Connect, RemoteFacts, RootFacts, ask, connector
from pipeline.hub.units import MIB, human

Role = Literal["hub", "relay", "training"]
Status = Literal["ok", "warn", "fail"]

#: A clock further off than this makes times in logs of two hosts hard to compare, in seconds.
MAX_SKEW_S = 2.0


class Row(Struct, frozen=True):
    """One answer.

    Attributes:
        name: what was looked at.
        host: where; the Hub's or host's name.
        role: what that host is in the relay.
        status: `ok`, `warn` (works, but look at it) or `fail` (the relay cannot start).
        detail: what was found, with figures.
        fix: what to do; empty when nothing is wrong.
    """

    name: str
    host: str
    role: Role
    status: Status
    detail: str
    fix: str = ""


class Preflight(Struct, frozen=True, kw_only=True):
    """What is asked.

    Attributes:
        repo_id, endpoint: the dataset; an empty endpoint is huggingface_hub's own.
        plan: how much space each side needs.
        relay_root: where batches are downloaded, on this machine.
        transfer_host: `[user@]host[:port]` of the training host; empty when there is none yet.
        transfer_root: data root there.
        ssh_key: private key for that host; empty leaves it to ssh's configuration.
        transfer_mode: `chunked` or `rsync`; the latter needs rsync on both sides.
    """

    repo_id: str
    plan: RelayPlan
    relay_root: Path
    endpoint: str = ""
    transfer_host: str = ""
    transfer_root: str = ""
    ssh_key: str = str(DEFAULT_KEY)
    transfer_mode: Literal["chunked", "rsync"] = "chunked"


async def run_preflight(asked: Preflight, *, connect: Connect | None = None) -> list[Row]:
    """All rows: the Hub, this machine, then the training host.

    Args:
        asked: what to look at.
        connect: opens the connection to the training host; by default as ssh would.
    """
    access, training = await asyncio.gather(
        asyncio.to_thread(probe_access, asked.repo_id, endpoint=asked.endpoint),
        _training_rows(asked, connect),
    )
    local = await asyncio.to_thread(lambda: list(_relay_rows(asked)))
    return [access_row(access, asked.repo_id), *local, *training]


def ready(rows: list[Row]) -> bool:
    """Whether the relay can start: no row fails."""
    return all(row.status != "fail" for row in rows)


def access_row(access: Access, repo_id: str) -> Row:
    """The gate as a row."""
    status: Status = "ok" if access.granted else "fail"
    detail = f"{access.state}: {access.detail}" + (f" (account {access.account})" if access.account else "")
    return Row("access", repo_id, "hub", status, detail, access.fix)


def _relay_rows(asked: Preflight) -> Iterator[Row]:
    host = os.uname().nodename
    plan = asked.plan
    files = max((batch.files for batch in plan.batches), default=0) * (1 + plan.prefetch)
    root, temp = local_root(asked.relay_root), local_root(Path(tempfile.gettempdir()))
    yield space_row("relay_root", host, "relay", root, Need(plan.relay_peak_bytes, 3 * files))
    yield space_row("relay_temp", host, "relay", temp, TEMP_NEED)
    found = _viewer_files(asked.relay_root)
    yield viewer_row(host, "relay", found=found, root=str(asked.relay_root))
    if asked.ssh_key:
        yield key_row(host, Path(asked.ssh_key))


async def _training_rows(asked: Preflight, connect: Connect | None) -> list[Row]:
    host = asked.transfer_host
    if not host:
        return [Row("ssh", "-", "training", "fail", "no training host is named", "set --transfer-host")]
    if not asked.transfer_root:
        return [Row("ssh", host, "training", "fail", "no data root is named", "set --transfer-root")]
    try:
        roots = {"training_root": asked.transfer_root, "training_temp": "/tmp"}  # noqa: S108 - only measured
        facts = await ask(connect or connector(host, asked.ssh_key), roots, asked.transfer_root)
    except (UnreachableError, NoPermissionError, NotFoundError) as error:
        return [Row("ssh", host, "training", "fail", str(error), error.hint or f"try: ssh {host} hostname")]
    return list(training_rows(asked, facts))


def training_rows(asked: Preflight, facts: RemoteFacts) -> Iterator[Row]:
    """The rows that follow from what the training host answered."""
    host, plan = asked.transfer_host, asked.plan
    trip = f"login {facts.connect_s * 1e3:.0f} ms, one command {facts.round_trip_s * 1e3:.0f} ms"
    yield Row("ssh", host, "training", "ok", f"{trip}; {facts.system or 'unknown system'}")
    inodes = plan.files + 2 * plan.episodes + plan.sessions
    needs = {"training_root": Need(plan.needed_on_destination_bytes, inodes), "training_temp": TEMP_NEED}
    for name, need in needs.items():
        yield space_row(name, host, "training", facts.roots.get(name), need)
    yield _clock_row(host, facts)
    yield _line_row(host, facts, plan.bytes_left)
    yield from _tool_rows(asked, facts)
    yield viewer_row(host, "training", found=facts.has_viewer_file, root=asked.transfer_root)


class Need(NamedTuple):
    """Room that must be free."""

    size: int
    inodes: int


#: A temporary directory needs room for small files only: the relay keeps its parts beside their files.
TEMP_NEED = Need(64 * MIB, 64)


def space_row(name: str, host: str, role: Role, root: RootFacts | None, need: Need) -> Row:
    """Whether a directory can be written and has room: warn below a tenth above the need, fail below it."""
    if root is None or root.free_bytes is None:
        return Row(name, host, role, "warn", "free space unknown", f"look with: df on {host}")
    room = f"{human(root.free_bytes)} free for {human(need.size)}"
    if root.free_inodes:
        room += f", {root.free_inodes} inodes for {need.inodes}"
    detail = f"{root.exists_at}: {room}"
    if not root.writable:
        return Row(name, host, role, "fail", f"{root.exists_at} cannot be written", "change owner or path")
    if root.free_bytes < need.size:
        missing = human(need.size - root.free_bytes)
        return Row(name, host, role, "fail", detail, f"free {missing}, or choose smaller batches or prefetch")
    if root.free_inodes and root.free_inodes < need.inodes:
        return Row(name, host, role, "fail", detail, "free inodes, or use another file system")
    if root.free_bytes < need.size * 1.1:
        return Row(name, host, role, "warn", detail, "less than a tenth of the need is spare")
    return Row(name, host, role, "ok", detail)


def local_root(path: Path) -> RootFacts:
    """The facts of a directory on this machine."""
    path = path.expanduser().absolute()
    at = next(folder for folder in (path, *path.parents) if folder.is_dir())
    state = os.statvfs(at)
    return RootFacts(
        str(at),
        os.access(at, os.W_OK | os.X_OK),
        state.f_bavail * state.f_frsize,
        state.f_favail or None,  # some file systems make inodes as needed and say 0
    )


def viewer_row(host: str, role: Role, *, found: bool, root: str) -> Row:
    """The policy that no viewer file is ever relayed, and whether one lies there already."""
    if found:
        return Row("viewer_files", host, role, "fail", f"*.rrd below {root}", "move it out of the data root")
    return Row("viewer_files", host, role, "ok", f"no *.rrd below {root}; none is ever relayed")


def key_row(host: str, path: Path) -> Row:
    """Whether the relay's SSH key is there and private."""
    try:
        key = read_key(path)
    except XopsError as error:
        return Row("ssh_key", host, "relay", "fail", str(error), error.hint)
    if key.problems:
        return Row("ssh_key", host, "relay", "fail", f"{key.path}: {key.problems[0]}", key.problems[0])
    return Row("ssh_key", host, "relay", "ok", f"{key.path} {key.fingerprint}")


def _clock_row(host: str, facts: RemoteFacts) -> Row:
    if facts.skew_s is None:
        return Row("clock", host, "training", "warn", "its clock cannot be read to fractions of a second")
    detail = f"{facts.skew_s:+.2f} s against this machine"
    if abs(facts.skew_s) > MAX_SKEW_S:
        return Row("clock", host, "training", "warn", detail, "synchronise both clocks (chrony, ntp)")
    return Row("clock", host, "training", "ok", detail)


def _line_row(host: str, facts: RemoteFacts, size: int) -> Row:
    """How fast one connection sends, and what that means for the selection; never a reason to fail."""
    rate = facts.upload_bytes_per_s
    if not rate:
        return Row(
            "line", host, "training", "warn", "its speed could not be measured", f"try: ssh {host} true"
        )
    hours = size / rate / 3600
    detail = f"{rate / 1e6:.1f} MB/s over one connection: {hours:.1f} h for {human(size)}"
    return Row("line", host, "training", "ok", detail)


def _tool_rows(asked: Preflight, facts: RemoteFacts) -> Iterator[Row]:
    host = asked.transfer_host
    if "python3" in facts.tools:
        yield Row("python3", host, "training", "ok", facts.python or "found")
    else:
        yield Row(
            "python3",
            host,
            "training",
            "warn",
            "not found",
            "works without, over SFTP and slower; install it",
        )
    if "rsync" in facts.tools:
        yield Row("rsync", host, "training", "ok", "found")
    else:
        needed = asked.transfer_mode == "rsync"
        status: Status = "fail" if needed else "warn"
        yield Row("rsync", host, "training", status, "not found", "needed only for --transfer-mode rsync")


def _viewer_files(root: Path) -> bool:
    root = root.expanduser()
    return root.is_dir() and any(names.is_excluded(file.name) for file in root.rglob("*"))

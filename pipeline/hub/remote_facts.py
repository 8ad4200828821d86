"""What one SSH command can tell about a host: space, tools, clock, viewer files.

The command is plain `sh`, fed by stdin, so nothing of ours has to be on the host; paths are quoted into
it. It answers tab-separated lines between two markers, because start-up files of the account may print
anything before. What it answers is parsed as data, never believed beyond its type.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from pipeline.engine.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    import asyncssh

Connect = Callable[[], "Awaitable[asyncssh.SSHClientConnection]"]

TOOLS = ("python3", "rsync", "dd", "sha256sum")
TIMEOUT_S = 60.0

_ADDRESS = re.compile(
    r"(?:(?P<user>[\w.-]+)@)?(?P<host>[\w][\w.-]*|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?"
)

_SCRIPT = r"""
LC_ALL=C; export LC_ALL
printf '\nxops-facts-begin\n'
printf 'clock\t%s\n' "$(date +%s.%N 2>/dev/null)"
printf 'system\t%s\n' "$(uname -sr 2>/dev/null)"
for tool in TOOLS; do
  command -v "$tool" >/dev/null 2>&1 && printf 'tool\t%s\n' "$tool"
done
printf 'python\t%s\n' "$(python3 --version 2>/dev/null)"
look() {
  at=$2
  while [ ! -d "$at" ] && [ "$at" != / ] && [ "$at" != . ]; do at=$(dirname -- "$at"); done
  writable=no; [ -w "$at" ] && writable=yes
  kib=$(df -Pk -- "$at" 2>/dev/null | awk 'NR==2 {print $4}')
  inodes=$(df -Pi -- "$at" 2>/dev/null | awk 'NR==2 {print $4}')
  printf 'root\t%s\t%s\t%s\t%s\t%s\n' "$1" "$at" "$writable" "$kib" "$inodes"
}
ROOTS
printf 'viewer\t%s\n' "$(find DATA -iname '*.rrd' 2>/dev/null | head -n 1 | wc -l)"
printf 'xops-facts-end\n'
"""


class RootFacts(Struct, frozen=True):
    """One directory on a host.

    Attributes:
        exists_at: the directory asked for, or the nearest one above it that exists.
        writable: whether the account may write there.
        free_bytes, free_inodes: for an ordinary account; None where the file system does not say.
    """

    exists_at: str
    writable: bool
    free_bytes: int | None
    free_inodes: int | None


#: Sent once to measure the line: seconds on a slow one, enough to mean something on a fast one.
PROBE_BYTES = 4 << 20


class RemoteFacts(Struct, frozen=True):
    """What a host answered.

    Attributes:
        connect_s, round_trip_s: time to log in; time of one command after that.
        skew_s: its clock minus ours; None where `date` knows no fractions.
        system, python: `uname -sr`; Python's version or "".
        tools: those of `TOOLS` that exist.
        roots: by the name they were asked under.
        has_viewer_file: whether any `*.rrd` lies below the data root.
        upload_bytes_per_s: of one connection, measured; None where it was not.
    """

    connect_s: float
    round_trip_s: float
    skew_s: float | None
    system: str
    python: str
    tools: frozenset[str]
    roots: dict[str, RootFacts]
    has_viewer_file: bool
    upload_bytes_per_s: float | None = None


class Address(NamedTuple):
    """An SSH address taken apart; `user` and `port` are None where ssh's own configuration decides."""

    user: str | None
    host: str
    port: int | None


def parse_address(address: str) -> Address:
    """`[user@]host[:port]` taken apart; UsageError if it is something else."""
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise UsageError(f"{address!r} is not a host address", hint="[user@]host[:port]")
    port = int(match["port"]) if match["port"] else None
    return Address(match["user"], match["host"].strip("[]"), port)


def connector(address: str, key: str = "") -> Connect:
    """How to log in at `address` as ssh would in batch mode: configuration, agent, known hosts, no prompt."""
    import asyncssh

    user, host, port = parse_address(address)
    options: dict[str, object] = {"connect_timeout": 15, "login_timeout": 15}
    options |= {name: value for name, value in (("username", user), ("port", port)) if value is not None}
    if key:
        options["client_keys"] = [str(Path(key).expanduser())]

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(host, **options)

    return connect


async def ask(connect: Connect, roots: dict[str, str], data_root: str) -> RemoteFacts:
    """Log in, run one command, read the answer.

    Args:
        connect: opens the connection.
        roots: name -> directory to measure.
        data_root: searched for viewer files.

    Raises:
        UnreachableError: no connection, no login, or an answer that makes no sense.
    """
    import asyncssh

    began = time.monotonic()
    try:
        async with await connect() as connection:
            connected = time.monotonic()
            await connection.run("true", timeout=TIMEOUT_S)
            sent, sent_wall = time.monotonic(), time.time()
            answer = await connection.run(
                "sh -s", input=_script(roots, data_root), timeout=TIMEOUT_S, errors="replace"
            )
            received_wall = time.time()
            upload = await _upload_rate(connection)
    except asyncssh.HostKeyNotVerifiable as error:
        raise UnreachableError(
            f"its host key is not known ({error.reason})",
            hint="ssh -o StrictHostKeyChecking=accept-new HOST hostname, after checking the fingerprint",
        ) from None
    except asyncssh.PermissionDenied:
        raise UnreachableError(
            "it does not accept the key", hint="append the public key to ~/.ssh/authorized_keys there"
        ) from None
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise UnreachableError(f"no connection: {error or type(error).__name__}") from None
    facts = parse_facts(str(answer.stdout))
    clock = _number(facts.clock)
    return RemoteFacts(
        connect_s=connected - began,
        round_trip_s=sent - connected,
        skew_s=None if clock is None else clock - _moment(clock, sent_wall, received_wall),
        system=facts.system,
        python=facts.python,
        tools=frozenset(facts.tools),
        roots={name: found for name, found in facts.roots.items() if name in roots},
        has_viewer_file=facts.viewer,
        upload_bytes_per_s=upload,
    )


async def _upload_rate(connection: asyncssh.SSHClientConnection) -> float | None:
    """Bytes per second that one connection sends, the round trip included; None if it cannot be measured."""
    import asyncssh

    began = time.monotonic()
    try:
        done = await connection.run(
            "cat > /dev/null", input=os.urandom(PROBE_BYTES), encoding=None, timeout=TIMEOUT_S
        )
    except (asyncssh.Error, TimeoutError):
        return None
    return None if done.exit_status else PROBE_BYTES / max(1e-6, time.monotonic() - began)


class Answer(Struct):
    """The lines between the markers, sorted by kind."""

    clock: str = ""
    system: str = ""
    python: str = ""
    tools: set[str] = set()
    roots: dict[str, RootFacts] = {}
    viewer: bool = False


def parse_facts(text: str) -> Answer:
    """Read what the script printed.

    Raises:
        UnreachableError: the markers are missing, so the account cannot run a shell command.
    """
    _, begin, rest = text.partition("\nxops-facts-begin\n")
    body, end, _ = rest.partition("xops-facts-end\n")
    if not begin or not end:
        raise UnreachableError(
            "it logs in but runs no shell command", hint="the relay can still use SFTP there"
        )
    answer = Answer()
    for line in body.splitlines():
        kind, *values = line.split("\t")
        if kind == "root" and len(values) == 5:
            name, at, writable, kib, inodes = values
            free = _number(kib)
            size = None if free is None else int(free) * 1024
            count = _number(inodes)
            answer.roots[name] = RootFacts(at, writable == "yes", size, None if count is None else int(count))
        elif len(values) == 1:
            _note(answer, kind, values[0])
    return answer


def _note(answer: Answer, kind: str, value: str) -> None:
    if kind == "tool" and value in TOOLS:
        answer.tools.add(value)
    elif kind in ("clock", "system", "python"):
        setattr(answer, kind, value[:80])
    elif kind == "viewer":
        answer.viewer = value.strip() not in ("", "0")


def _script(roots: dict[str, str], data_root: str) -> str:
    looks = "\n".join(f"look {shlex.quote(name)} {_quoted(path)}" for name, path in roots.items())
    data = _quoted(data_root)
    return _SCRIPT.replace("TOOLS", " ".join(TOOLS)).replace("ROOTS", looks).replace("DATA", data)


def _quoted(path: str) -> str:
    """A remote path for the shell; `~/` and relative ones are below the account's home."""
    return shlex.quote(path if path.startswith("/") else f"./{path.removeprefix('~/')}")


def _moment(clock: float, sent: float, received: float) -> float:
    """Our time nearest to `clock` that the exchange allows: any answer in between means no skew."""
    return min(max(clock, sent), received)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,18}(\.\d{1,12})?", text) else None

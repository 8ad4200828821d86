"""Preflight: each answer is a row, each failure has a fix, no secret shows, nothing is changed."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.errors import DamagedFileError, NotFoundError, UnreachableError, UsageError
from pipeline.hub.choose import choose
from pipeline.hub.keys import ensure_key, read_key
from pipeline.hub.pool import SelectRules, make_pool
from pipeline.hub.preflight import Need, Preflight, Row, ready, run_preflight, space_row, training_rows
from pipeline.hub.relay_plan import plan_relay
from pipeline.hub.remote_facts import Address, Connect, RemoteFacts, RootFacts, parse_address, parse_facts
from pipeline.standin.hub import REPO_ID, TOKEN, StandinHub, standin_hub
from tests.hub.conftest import random_listing

PLAN = plan_relay(
    choose(make_pool(random_listing(60, 2), SelectRules(target_episodes=16, min_annotation_gib=0)))
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinHub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "dataset").mkdir()
    with standin_hub(tmp_path / "dataset") as server:
        yield server


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Connect]:
    """A stock OpenSSH server on loopback with throw-away keys; how to log in."""
    server = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if server is None:
        pytest.skip("no OpenSSH server (sshd) on this machine")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    host_key, login = ensure_key(folder / "host_key"), ensure_key(folder / "login")
    (folder / "authorized_keys").write_text(login.public_line + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": host_key.path,
        "AuthorizedKeysFile": folder / "authorized_keys",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    config = folder / "config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    Path("/run/sshd").mkdir(exist_ok=True) if os.getuid() == 0 else None
    with subprocess.Popen([server, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL) as process:
        wait_for(port)
        known = asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {host_key.public_line}\n")

        async def connect() -> asyncssh.SSHClientConnection:
            return await asyncssh.connect(
                "127.0.0.1",
                port,
                username=getpass.getuser(),
                client_keys=[str(login.path)],
                known_hosts=known,
            )

        yield connect
        process.terminate()


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("sshd did not start")


def by_name(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row.role, row.name): row for row in rows}


async def test_everything_is_there(hub: StandinHub, sshd: Connect, tmp_path: Path) -> None:
    key = ensure_key(tmp_path / "ssh" / "relay")
    asked = Preflight(
        repo_id=REPO_ID, endpoint=hub.endpoint, plan=PLAN, relay_root=tmp_path / "relay",
        transfer_host="training", transfer_root=str(tmp_path / "not yet" / "data"), ssh_key=str(key.path),
    )  # fmt: skip
    rows = await run_preflight(asked, connect=sshd)
    found = by_name(rows)
    assert ready(rows), [row for row in rows if row.status == "fail"]
    assert found["hub", "access"].detail.startswith("granted")
    assert found["relay", "relay_root"].detail.startswith(str(tmp_path))
    assert found["training", "training_root"].detail.startswith(str(tmp_path) + ":")
    assert found["training", "python3"].detail.startswith("Python 3")
    assert found["training", "clock"].status == "ok"
    assert key.fingerprint in found["relay", "ssh_key"].detail
    assert TOKEN not in str(rows)
    assert not (tmp_path / "relay").exists()


async def test_everything_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    (tmp_path / "relay" / "s").mkdir(parents=True)
    (tmp_path / "relay" / "s" / "Visualization.RRD").touch()
    (tmp_path / "dataset").mkdir()
    with standin_hub(tmp_path / "dataset") as hub:
        asked = Preflight(
            repo_id=REPO_ID, endpoint=hub.endpoint,
            plan=msgspec.structs.replace(PLAN, relay_peak_bytes=1 << 60),
            relay_root=tmp_path / "relay", transfer_host="127.0.0.1:9", transfer_root="/data",
            ssh_key=str(tmp_path / "no key"),
        )  # fmt: skip
        rows = await run_preflight(asked)
    failing = {row.name: row for row in rows if row.status == "fail"}
    assert set(failing) == {"access", "relay_root", "viewer_files", "ssh_key", "ssh"}
    assert failing["access"].detail.startswith("no_token")
    assert all(row.fix for row in failing.values())
    assert not ready(rows)


async def test_viewer_files_and_hostile_roots_on_the_training_host(
    hub: StandinHub, sshd: Connect, tmp_path: Path
) -> None:
    root = tmp_path / "it's; touch pwned $(touch pwned) -rf"
    (root / "s").mkdir(parents=True)
    (root / "s" / "x.RRD").touch()
    asked = Preflight(
        repo_id=REPO_ID, endpoint=hub.endpoint, plan=PLAN, relay_root=tmp_path / "relay",
        transfer_host="training", transfer_root=str(root), ssh_key="",
    )  # fmt: skip
    found = by_name(await run_preflight(asked, connect=sshd))
    assert found["training", "viewer_files"].status == "fail"
    assert found["training", "training_root"].status == "ok"
    assert not list(Path.home().glob("pwned"))


async def test_a_host_that_refuses_the_key(hub: StandinHub, sshd: Connect, tmp_path: Path) -> None:
    async def refused() -> asyncssh.SSHClientConnection:
        raise asyncssh.PermissionDenied("no")

    async def unknown() -> asyncssh.SSHClientConnection:
        raise asyncssh.HostKeyNotVerifiable("Host key is not trusted")

    asked = Preflight(
        repo_id=REPO_ID,
        endpoint=hub.endpoint,
        plan=PLAN,
        relay_root=tmp_path,
        transfer_host="h",
        transfer_root="/d",
    )
    rows = by_name(await run_preflight(asked, connect=refused))
    assert "authorized_keys" in rows["training", "ssh"].fix
    rows = by_name(await run_preflight(asked, connect=unknown))
    assert "accept-new" in rows["training", "ssh"].fix


GIVEN = RemoteFacts(0.1, 0.05, 0.0, "Linux 6", "Python 3.11", frozenset({"python3", "rsync"}),
                    {"training_root": RootFacts("/d", True, 1 << 60, 1 << 40),
                     "training_temp": RootFacts("/tmp", True, 1 << 40, 1 << 20)}, False, 9e7)  # fmt: skip
ASKED = Preflight(repo_id="a/b", plan=PLAN, relay_root=Path("/r"), transfer_host="h", transfer_root="/d")


def statuses(facts: RemoteFacts, asked: Preflight = ASKED) -> dict[str, str]:
    return {row.name: row.status for row in training_rows(asked, facts)}


def test_what_the_training_host_answers_becomes_rows() -> None:
    assert set(statuses(GIVEN).values()) == {"ok"}
    late = msgspec.structs.replace(GIVEN, skew_s=-3.5)
    assert statuses(late)["clock"] == "warn"
    bare = msgspec.structs.replace(GIVEN, tools=frozenset(), skew_s=None)
    assert statuses(bare) | {"clock": "warn", "python3": "warn", "rsync": "warn"} == statuses(bare)
    rsync = msgspec.structs.replace(ASKED, transfer_mode="rsync")
    assert statuses(bare, rsync)["rsync"] == "fail"


@pytest.mark.parametrize(
    ("root", "status"),
    [
        (RootFacts("/d", True, 1000, 10), "fail"),
        (RootFacts("/d", True, 1050, 1000), "warn"),
        (RootFacts("/d", True, 5000, 10), "fail"),
        (RootFacts("/d", True, 5000, None), "ok"),
        (RootFacts("/d", False, 5000, None), "fail"),
        (RootFacts("/d", True, None, None), "warn"),
        (None, "warn"),
    ],
)
def test_space(root: RootFacts | None, status: str) -> None:
    row = space_row("x", "h", "training", root, Need(1001 if status == "fail" else 1000, 100))
    assert row.status == status
    assert bool(row.fix) == (status != "ok")


@given(st.text() | st.sampled_from(["tool", "clock", "viewer", "root", "clock\t1e9\tx", "root\t" * 6]))
def test_whatever_a_host_prints_is_an_answer_or_a_clear_error(noise: str) -> None:
    with pytest.raises(UnreachableError, match="runs no shell command"):
        parse_facts(noise)
    answer = parse_facts(f"motd\nxops-facts-begin\nroot\ta\t/\tyes\t12\tx\n{noise}\nxops-facts-end\n")
    assert answer.roots["a"].free_bytes == 12 * 1024 or "root\ta" in noise


@pytest.mark.parametrize("address", ["", "-oProxyCommand=x", "a b", "h;ls", "u@", "h:99999999", "$(x)"])
def test_an_address_is_an_address(address: str) -> None:
    with pytest.raises(UsageError, match="not a host address"):
        parse_address(address)


def test_addresses_are_taken_apart() -> None:
    assert parse_address("cy@host-1.example:2222") == Address("cy", "host-1.example", 2222)
    assert parse_address("alias") == Address(None, "alias", None)
    assert parse_address("[::1]:22") == Address(None, "::1", 22)


# The relay's key.


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".ssh" / "xperience10m_relay_ed25519"
    made = ensure_key(path)
    assert made.created
    assert made.public_line.startswith("ssh-ed25519 AAAA")
    assert made.public_line.endswith("xperience10m-relay-to-training")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    before = path.read_bytes()
    again = ensure_key(path)
    assert (again.created, again.public_line, again.fingerprint) == (
        False,
        made.public_line,
        made.fingerprint,
    )
    assert path.read_bytes() == before
    secret = before.decode().splitlines()[1]
    assert secret not in repr(made)
    if shutil.which("ssh-keygen"):
        printed = subprocess.run(
            ["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True
        ).stdout
        assert made.fingerprint in printed


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("not a key")
    with pytest.raises(DamagedFileError, match="not a key"):
        ensure_key(path)
    assert path.read_text() == "not a key"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not a regular file"):
        ensure_key(path)
    path.unlink()
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA")
    with pytest.raises(UsageError, match="exists without"):
        ensure_key(path)
    with pytest.raises(NotFoundError, match="no SSH key"):
        read_key(path)


def test_a_key_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text("made by somebody else")

    def nothing_yet(path: Path) -> None:
        raise NotFoundError("not yet")

    monkeypatch.setattr("pipeline.hub.keys.read_key", nothing_yet)
    with pytest.raises(UsageError, match="exists already"):
        ensure_key(path)
    assert path.read_text() == "made by somebody else"


def test_a_key_that_others_can_read_is_reported(tmp_path: Path) -> None:
    path = ensure_key(tmp_path / "ssh" / "key").path
    path.chmod(0o644)
    assert "chmod 600" in read_key(path).problems[0]
    path.with_name("key.pub").unlink()
    assert read_key(path).public_line.startswith("ssh-ed25519")

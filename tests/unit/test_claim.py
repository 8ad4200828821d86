"""A claim is held by whoever inherited it, and says by whom."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipeline.engine import procfs
from pipeline.engine.claim import Claim, Holder, holder, spoken_seconds
from pipeline.engine.errors import BusyError


def test_a_claim_is_exclusive_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "claim.lock"
    with Claim(path, what="stage a"):
        who = holder(path)
        assert who is not None
        assert (who.pid, who.host) == (os.getpid(), os.uname().nodename)
        assert who.identity.alive()
        with pytest.raises(
            BusyError, match=rf"stage a is held by pid {os.getpid()} on .* for 0 s"
        ) as refusal:
            Claim(path, what="stage a", hint="xops run cancel r")
        assert refusal.value.hint == "xops run cancel r"
    assert holder(path) is None
    assert path.stat().st_size == 512


def test_a_child_that_inherited_the_claim_holds_it_after_its_parent_let_go(tmp_path: Path) -> None:
    path = tmp_path / "claim.lock"
    claim = Claim(path, what="it")
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    claim.release()
    try:
        assert holder(path) is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert holder(path) is None


def test_a_claim_with_damaged_text_is_still_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "claim.lock"
    with Claim(path, what="it") as claim:
        os.pwrite(claim.fd, b"\xff{{{" + b" " * 508, 0)
        assert holder(path) == Holder()
        with pytest.raises(BusyError, match="an unnamed process"):
            Claim(path, what="it")


def test_a_claim_nobody_ever_took_is_free(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") is None


def test_a_zombie_and_a_reused_pid_are_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert procfs.start_ticks(child) is None, "a zombie"
    os.waitpid(child, 0)
    me = procfs.identify(os.getpid())
    assert me is not None
    assert me.alive()
    assert procfs.Identity(me.pid, me.start_ticks + 1, me.boot_id, me.host).alive() is False, (
        "another process"
    )
    assert procfs.Identity(me.pid, me.start_ticks, "other boot", me.host).alive() is False
    assert procfs.Identity(me.pid, me.start_ticks, me.boot_id, "other host").alive() is None, (
        "nobody can tell"
    )


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3 * 3600 + 300, "3 h 5 min"),
        (2 * 86400 + 4 * 3600, "2 d 4 h"),
    ],
)
def test_ages_are_spoken_and_never_negative(seconds: float, spoken: str) -> None:
    assert spoken_seconds(seconds) == spoken

"""Whatever is killed, the files tell what happened and the next attempt goes on where the last stopped."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab import Lab, wait_for

from pipeline.engine.claim import Claim, holder
from pipeline.engine.errors import BusyError, NotReadyError
from pipeline.engine.operations import cancel, reap, start
from pipeline.engine.procfs import identify
from pipeline.engine.records import read_exit
from pipeline.engine.state import StageState


def items(lab: Lab, run) -> list[int]:
    return [int(line) for line in (run.stage("b").out / "items.txt").read_text().split()]


def paused_b(lab: Lab):
    """A run whose stage b has done items 0 to 3 of 10 and waits."""
    run = lab.new(b={"pause_at": 3})
    lab.finish(run, "a")
    lab.start(run, "b")
    return run, run.stage("b"), lab.paused(run.stage("b"))


def resume_and_check(lab: Lab, run) -> None:
    """A second attempt finishes, with nothing done twice and nothing missing."""
    paths = run.stage("b")
    lab.release(paths)
    assert lab.finish(run, "b").outcome == "done"
    assert items(lab, run) == list(range(10))
    done = [e["item"] for e in lab.events(paths.progress) if e["event"] == "item_done"]
    assert done == list(range(10))
    assert lab.state(run, "b") is StageState.SUCCEEDED
    assert [a.number for a in lab.status(run, "b").attempts] == [1, 2]


def test_sigterm_lets_a_cooperative_stage_save(lab: Lab) -> None:
    run, paths, _ = paused_b(lab)
    cancel(run, lab.registry, "b")
    record = lab.ended(paths)
    assert (record.outcome, record.rc, record.orphans_killed) == ("cancelled", 143, False)
    assert holder(paths.claim) is None
    assert lab.state(run, "b") is StageState.CANCELLED
    names = [e["event"] for e in lab.events(paths.events)]
    assert names == ["stage_start", "stage_cancel", "stage_cancelled"]
    resume_and_check(lab, run)


def test_ignored_sigterm_ends_in_sigkill_after_the_grace(lab: Lab) -> None:
    run = lab.new("quick", quick={"act": "stubborn"})
    lab.start(run, "quick")
    lab.paused(run.stage("quick"))
    cancel(run, lab.registry, "quick")
    record = lab.ended(run.stage("quick"))
    assert (record.outcome, record.rc) == ("cancelled", -signal.SIGKILL)
    assert "did not stop within 0.2 s" in record.message


def test_while_a_stage_saves_its_state_is_cancelling(lab: Lab) -> None:
    run = lab.new(a={"act": "stubborn"})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    cancel(run, lab.registry, "a")
    wait_for(lambda: lab.state(run, "a") is StageState.CANCELLING, "cancelling")
    cancel(run, lab.registry, "a", force=True)
    assert lab.ended(run.stage("a")).outcome == "cancelled"


def test_sigkill_of_the_stage_is_a_failure_of_that_attempt(lab: Lab) -> None:
    run, paths, process = paused_b(lab)
    os.kill(process.pid, signal.SIGKILL)
    record = lab.ended(paths)
    assert (record.outcome, record.rc) == ("failed", -signal.SIGKILL)
    assert "SIGKILL" in record.message
    assert lab.state(run, "b") is StageState.FAILED
    resume_and_check(lab, run)


def test_sigkill_of_the_supervisor_stops_the_stage_and_leaves_it_lost(lab: Lab) -> None:
    run, paths, process = paused_b(lab)
    os.kill(process.supervisor, signal.SIGKILL)
    wait_for(lambda: not lab.processes(paths), "the stage's own end")
    assert read_exit(paths.list_attempts()[-1]) is None
    assert holder(paths.claim) is None
    assert lab.state(run, "b") is StageState.LOST
    assert lab.events(paths.progress)[-1]["event"] == "cancelled"
    resume_and_check(lab, run)


def test_sigkill_of_both_leaves_it_lost(lab: Lab) -> None:
    run, paths, process = paused_b(lab)
    os.kill(process.supervisor, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    os.kill(process.supervisor, signal.SIGKILL)
    wait_for(lambda: not lab.processes(paths), "the end of both")
    assert lab.state(run, "b") is StageState.LOST
    resume_and_check(lab, run)


def test_workers_that_outlive_the_stage_are_killed_by_the_supervisor(lab: Lab) -> None:
    run = lab.new(a={"act": "forks"})
    lab.start(run, "a")
    process = lab.paused(run.stage("a"))
    assert len(process.survivors()) == 3
    os.kill(process.pid, signal.SIGKILL)
    record = lab.ended(run.stage("a"))
    assert record.orphans_killed
    assert process.survivors() == []
    assert holder(run.stage("a").claim) is None


@pytest.mark.parametrize("act", ["forks", "strays"])
def test_orphans_keep_the_stage_claimed_until_they_are_reaped(lab: Lab, act: str) -> None:
    run = lab.new(a={"act": act})
    lab.start(run, "a")
    paths = run.stage("a")
    process = lab.paused(paths)
    os.kill(process.supervisor, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    os.kill(process.supervisor, signal.SIGKILL)
    wait_for(lambda: not process.watcher.alive() and not process.main.alive(), "the end of both")

    assert lab.state(run, "a") is StageState.ORPHANED
    if act == "forks":
        assert holder(paths.claim) is not None, "workers inherited the claim"
    with pytest.raises(BusyError, match="reap"):
        lab.start(run, "a")
    assert "would kill" in reap(run, lab.registry, "a", dry_run=True).message
    assert process.survivors()
    reap(run, lab.registry, "a")
    assert process.survivors() == []
    assert holder(paths.claim) is None
    assert lab.state(run, "a") is StageState.LOST
    with pytest.raises(NotReadyError):
        reap(run, lab.registry, "a")


STARTER = """
import sys, time
from pathlib import Path
from pipeline.engine.operations import start
from pipeline.engine.paths import RunPaths
from toy_table import REGISTRY
start(RunPaths(Path(sys.argv[1])), REGISTRY, only=["a"])
time.sleep(600)
"""


def test_closing_the_terminal_changes_nothing(lab: Lab) -> None:
    """Start from a real pseudo-terminal, close it, and find the stage alive."""
    run = lab.new(a={"pause_at": 3})
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", STARTER, str(run.root)])
    paths = run.stage("a")
    wait_for(paths.progress.exists, "the start from the terminal")
    process = lab.paused(paths)
    os.close(terminal)  # the kernel sends SIGHUP to the terminal's session
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGHUP, "the terminal's own process died of it"
    assert process.main.alive()
    assert process.watcher.alive()
    assert lab.state(run, "a") is StageState.RUNNING
    lab.release(paths)
    assert lab.ended(paths).outcome == "done"


RACER = """
import sys, os
from pathlib import Path
from pipeline.engine.claim import Claim
from pipeline.engine.errors import BusyError
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
try:
    claim = Claim(Path(sys.argv[1]), what="the prize")
except BusyError:
    print("lost", flush=True)
else:
    print("won", flush=True)
    sys.stdin.readline()
"""


def test_of_64_racers_one_wins(tmp_path: Path) -> None:
    prize = tmp_path / "claim.lock"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([sys.executable, "-c", RACER, str(prize)], **pipes) for _ in range(64)]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert holder(prize) is None or holder(prize)  # a reader in between disturbs nobody
        said = [racer.stdout.readline() for racer in racers]
        assert sorted(said) == ["lost\n"] * 63 + ["won\n"]
        winner = racers[said.index("won\n")]
        who = holder(prize)
        assert who is not None
        assert who.pid == winner.pid
    finally:
        for racer in racers:
            racer.communicate("end\n")
    assert holder(prize) is None


def test_the_second_of_two_launches_is_refused_and_told_who_holds_it(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 1})
    handoff = lab.start(run, "a").handoffs[0]
    with pytest.raises(BusyError) as refusal:
        lab.start(run, "a")
    assert f"on {handoff.host}" in str(refusal.value)
    assert str(lab.process(run.stage("a")).supervisor) in str(refusal.value)
    assert "xops run cancel" in refusal.value.hint
    assert len(run.stage("a").list_attempts()) == 1


LOOKER = """
import sys
from pathlib import Path
from pipeline.engine.claim import holder
print("on", flush=True)
while True:
    holder(Path(sys.argv[1]))
"""


def test_readers_never_make_a_launch_fail(tmp_path: Path) -> None:
    """A console looks at claims four times a second; that must not count as holding them."""
    path = tmp_path / "claim.lock"
    Claim(path, what="it").release()
    looker = subprocess.Popen([sys.executable, "-c", LOOKER, str(path)], stdout=subprocess.PIPE)
    try:
        looker.stdout.readline()
        for _ in range(500):
            Claim(path, what="it").release()
    finally:
        looker.kill()
        looker.wait()


def test_a_full_disk_under_the_event_log_does_not_stop_the_stage(lab: Lab) -> None:
    run = lab.new(a={})
    paths = run.stage("a")
    paths.root.mkdir(parents=True)
    paths.events.symlink_to("/dev/full")
    record = lab.finish(run, "a")
    assert record.outcome == "done"
    assert record.events_lost >= 1
    assert "no room left" in record.message
    assert lab.state(run, "a") is StageState.SUCCEEDED


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_under_the_stage_is_recorded_on_that_disk(lab: Lab, tmp_path: Path) -> None:
    """The stage fills a small file system that also holds its run directory."""
    disk = tmp_path / "runs"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        run = lab.new(a={"pause_at": 1})
        paths = run.stage("a")
        lab.start(run, "a")
        lab.paused(paths)
        fill(disk / "filler")
        lab.release(paths)
        record = lab.ended(paths)
        assert record.outcome == "failed"
        assert "no room left" in record.message
        assert record.hint
        assert lab.state(run, "a") is StageState.FAILED
        (disk / "filler").unlink()
        assert lab.finish(run, "a").outcome == "done"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_ages_are_never_negative_when_the_clock_jumps_back(lab: Lab) -> None:
    run, paths, _ = paused_b(lab)
    tomorrow = paths.progress.stat().st_mtime + 86400
    os.utime(paths.progress, (tomorrow, tomorrow))
    status = lab.status(run, "b")
    assert (status.state, status.quiet_s) == (StageState.RUNNING, 0.0)


def test_silence_makes_a_running_stage_stalled_and_not_dead(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 1})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    spec = lab.registry.stage("a")
    paths = run.stage("a")
    os.utime(paths.progress, (1, 1))
    process = paths.attempt(1).process
    process.write_text(
        process.read_text().replace(f'"started": {lab.process(paths).started}', '"started": 1.0')
    )
    status = lab.status(run, "a")
    assert status.state is StageState.STALLED
    assert status.quiet_s > spec.stall_s


def test_a_pid_that_somebody_else_has_now_is_not_ours(lab: Lab) -> None:
    run, paths, process = paused_b(lab)
    os.kill(process.supervisor, signal.SIGKILL)
    wait_for(lambda: not lab.processes(paths), "the end")
    me = identify(os.getpid())
    assert me is not None
    record = paths.attempt(1).process
    record.write_text(record.read_text().replace(f'"pid": {process.pid}', f'"pid": {me.pid}'))
    assert lab.state(run, "b") is StageState.LOST
    with pytest.raises(NotReadyError):
        cancel(run, lab.registry, "b")


def test_a_chain_goes_on_when_the_one_who_started_it_is_gone(lab: Lab) -> None:
    run = lab.new(b={"pause_at": 2})
    act = start(run, lab.registry)
    assert act.conductor is not None
    lab_b = run.stage("b")
    wait_for(lab_b.progress.exists, "b, started by the conductor")
    lab.paused(lab_b)
    assert lab.process(run.conductor).main.alive()
    lab.release(lab_b)
    wait_for(lambda: lab.state(run, "c") is StageState.SUCCEEDED, "the end of the chain")
    assert lab.ended(run.conductor).outcome == "done"


def test_cancelling_the_conductor_leaves_the_stages(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 2})
    start(run, lab.registry)
    process = lab.paused(run.stage("a"))
    os.kill(lab.process(run.conductor).supervisor, signal.SIGTERM)
    record = lab.ended(run.conductor)
    assert record.outcome == "cancelled"
    assert not record.orphans_killed
    assert process.main.alive()
    lab.release(run.stage("a"))
    assert lab.ended(run.stage("a")).outcome == "done"
    assert lab.state(run, "b") is StageState.READY


def test_a_chain_stops_at_the_first_failure_and_says_which(lab: Lab) -> None:
    run = lab.new(b={"act": "fails"})
    start(run, lab.registry)
    record = lab.ended(run.conductor)
    assert record.outcome == "failed"
    assert "host beta does not answer" in record.message
    assert lab.state(run, "c") is StageState.BLOCKED
    assert len(run.stage("b").list_attempts()) == 1


def test_a_supervisor_relays_nothing_it_did_not_get(lab: Lab) -> None:
    """SIGHUP, which a dying terminal sends, ends neither supervisor nor stage."""
    run = lab.new(a={"pause_at": 2})
    lab.start(run, "a")
    process = lab.paused(run.stage("a"))
    os.kill(process.supervisor, signal.SIGHUP)
    os.kill(process.pid, signal.SIGHUP)
    lab.release(run.stage("a"))
    assert lab.ended(run.stage("a")).outcome == "done"

"""The supervisor: the small parent of one stage attempt.

    python -P -m pipeline.engine.supervise [--detach] STAGE_DIR GRACE_S -- ARGV...

It takes the claim, numbers the attempt, starts ARGV as its own process group, publishes the hand-off
record, relays SIGTERM (then SIGKILL after GRACE_S), kills what outlives the main process, and writes
`exit.json`. It alone writes `events.jsonl`. It imports the standard library only and holds no state that
its files do not have: when it is killed, the stage is told to stop by the kernel (PR_SET_PDEATHSIG, set by
the stage itself) and the claim tells everybody when it is gone.

The first line on standard output is the hand-off: `{"attempt": 3, "pid": 4711}`, or `{"error": ...}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.engine import procfs, records
from pipeline.engine.claim import Claim, user
from pipeline.engine.errors import DiskFullError, ExitCode, XopsError
from pipeline.engine.files import publish_json, trim_log
from pipeline.engine.log import EventWriter
from pipeline.engine.paths import AttemptPaths, StageAddress, StagePaths

#: A heartbeat is written only when nothing else was for this long, in seconds.
HEARTBEAT_S = 30.0

#: How often the size of stdout.log and the need for a heartbeat are looked at, in seconds.
TICK_S = 1.0

#: Beyond this many bytes stdout.log is cut to its first and last mebibyte.
STDOUT_LIMIT = int(os.environ.get("STAGE_STDOUT_LIMIT", str(64 << 20)))

_REPORT_LIMIT = 16384


class Supervisor:
    """One attempt, from claim to exit record.

    Args:
        paths: the stage's (or shard's) directory.
        grace_s: seconds between SIGTERM and SIGKILL.
        argv: the stage's command.
    """

    def __init__(self, paths: StagePaths, grace_s: float, argv: list[str]) -> None:
        self._grace_s = grace_s
        self._argv = argv
        self._wake = _wake_on_signals()
        address = StageAddress.of(paths.root)
        self._claim = Claim(
            paths.claim,
            what=str(address),
            hint=f"xops run cancel {address.run.run_id} --stage {address.stage}",
        )
        self._paths = paths
        self._attempt = _next_attempt(paths)
        self._slot = records.ExitSlot(self._attempt)
        self._token = secrets.token_hex(16)
        self._events_lost = 0
        self._lost_why = ""
        self._events: EventWriter | None = None
        self._base = {"run_id": address.run.run_id, "stage": address.stage, "attempt": self._attempt.number}
        if address.shard is not None:
            self._base["shard"] = address.shard
        self._last_event = time.monotonic()
        self._cancel_at: float | None = None
        self._killed = False
        self._dropped = 0

    def run(self) -> int:
        """Carry the attempt through; returns the supervisor's exit status."""
        report_read, report_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            child = self._start(report_write)
        except OSError as error:
            reason = f"the stage's process cannot be started: {error.strerror}: {self._argv[0]}"
            hand_off({"error": reason, "code": int(ExitCode.STAGE_FAILED)})
            return self._finish(
                records.ExitRecord(ended=time.time(), message=reason, kind=type(error).__name__)
            )
        os.close(report_write)
        hand_off({"attempt": self._attempt.number, "pid": child.pid})
        self._emit("stage_start", pid=child.pid, host=procfs.host())
        self._watch(child.pid)
        # The dead main process is not collected yet, so that its group cannot be anybody else's.
        orphans = self._kill_orphans(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return self._finish(self._ending(child.returncode, usage, orphans, _report(report_read)))

    def _start(self, report_fd: int) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ,
            records.ENV_ATTEMPT: str(self._attempt.number),
            records.ENV_TOKEN: self._token,
            records.ENV_SUPERVISOR: str(os.getpid()),
            records.ENV_REPORT: str(report_fd),
        }
        with self._attempt.stdout.open("ab") as stdout:
            child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                pass_fds=(self._claim.fd, report_fd),
                process_group=0,
                env=environ,
            )
        self._record_start(child.pid)
        return child

    def _record_start(self, pid: int) -> None:
        record = records.ProcessRecord(
            pid=pid,
            pgid=pid,
            start_ticks=procfs.start_ticks(pid) or 0,
            supervisor=os.getpid(),
            supervisor_ticks=procfs.start_ticks(os.getpid()) or 0,
            boot_id=procfs.boot_id(),
            host=procfs.host(),
            user=user(),
            token=self._token,
            argv=tuple(self._argv),
            started=time.time(),
        )
        try:
            records.publish_process(self._attempt, record)
            publish_json(self._attempt.env, records.visible_environment(os.environ))
        except OSError as error:
            self._note_loss(error)
        except DiskFullError as error:
            self._note_loss(error)

    def _watch(self, pid: int) -> None:
        """Return when the main process is dead; relay signals, escalate, keep the log small, show life."""
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            select.select([self._wake], [], [], TICK_S if self._cancel_at is None else 0.05)
            asked = _drain(self._wake) & {signal.SIGTERM, signal.SIGINT}
            if asked and self._cancel_at is None:
                self._cancel(pid, min(asked))
            if self._cancel_at is not None and not self._killed and time.monotonic() >= self._cancel_at:
                self._killed = True
                _signal_group(pid, signal.SIGKILL)
            self._housekeeping()

    def _cancel(self, pgid: int, signum: int) -> None:
        self._cancel_at = time.monotonic() + self._grace_s
        self._emit("stage_cancel", signal=signum, grace_s=self._grace_s)
        _signal_group(pgid, signal.SIGTERM)

    def _housekeeping(self) -> None:
        try:
            self._dropped += trim_log(self._attempt.stdout, STDOUT_LIMIT)
            quiet = time.time() - self._paths.progress.stat().st_mtime
        except FileNotFoundError:
            quiet = HEARTBEAT_S
        except OSError as error:
            self._note_loss(error)
            return
        if time.monotonic() - self._last_event >= HEARTBEAT_S and quiet >= HEARTBEAT_S:
            self._emit("heartbeat")

    def _ending(self, rc: int, usage: Any, orphans: bool, report: dict[str, str]) -> records.ExitRecord:
        cancelled = self._cancel_at is not None
        message, hint = report.get("message", ""), report.get("hint", "")
        if rc and not message:
            message, hint = self._describe(rc, cancelled)
        return records.ExitRecord(
            outcome="done" if rc == 0 else "cancelled" if cancelled else "failed",
            rc=rc,
            ended=time.time(),
            message=message,
            hint=hint,
            kind=report.get("kind", ""),
            max_rss_mb=usage.ru_maxrss // 1024,
            cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
            orphans_killed=orphans,
        )

    def _describe(self, rc: int, cancelled: bool) -> tuple[str, str]:
        """Message and hint for a stage that ended without a word of its own."""
        see = f"look at {self._attempt.stdout}"
        if cancelled:
            return (
                f"did not stop within {self._grace_s:g} s and was killed" if self._killed else "stopped"
            ), ""
        if rc == -signal.SIGKILL:
            return (
                "killed by SIGKILL: somebody's kill -9, or the kernel was out of memory",
                "dmesg | grep -i oom",
            )
        if rc < 0:
            return f"killed by {signal.Signals(-rc).name}", see
        return f"exit status {rc} without an explanation", see

    def _kill_orphans(self, pgid: int) -> bool:
        """Kill workers that outlived the main process, also those in sessions of their own."""
        found = procfs.group_alive(pgid)
        _signal_group(pgid, signal.SIGKILL)
        for pid in procfs.with_environment(f"{records.ENV_TOKEN}={self._token}"):
            found = True
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return found

    def _finish(self, record: records.ExitRecord) -> int:
        """Publish the end: exit record first, because a state is derived from it, then the event."""
        lost = f"{self._events_lost} engine events lost: {self._lost_why}" if self._events_lost else ""
        self._slot.publish(
            replace(
                record,
                message="; ".join(filter(None, (record.message, lost))),
                events_lost=self._events_lost,
                stdout_dropped=self._dropped,
            )
        )
        self._emit(f"stage_{record.outcome}", rc=record.rc, message=record.message)
        return 0 if record.outcome == "done" else int(ExitCode.STAGE_FAILED)

    def _emit(self, event: str, **fields: Any) -> None:
        """Write an engine event; a disk that is full must not take the stage down with it."""
        self._last_event = time.monotonic()
        try:
            if self._events is None:
                self._events = EventWriter(self._paths.events, **self._base)
            self._events(event, **fields)
        except (DiskFullError, OSError) as error:
            self._note_loss(error)

    def _note_loss(self, error: Exception) -> None:
        self._events_lost += 1
        self._lost_why = self._lost_why or str(error)


def hand_off(record: dict[str, Any]) -> None:
    """Tell the launcher, then let go of its pipe."""
    with contextlib.suppress(OSError):  # a launcher that died finds everything in the files
        os.write(1, json.dumps(record).encode() + b"\n")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


def main(arguments: list[str]) -> int:
    """Run as a process; see the module's docstring."""
    if arguments[:1] == ["--detach"]:
        arguments = arguments[1:]
        if os.fork():
            os._exit(0)
    folder, grace_s, dashes, *argv = arguments
    if dashes != "--" or not argv:
        sys.stderr.write("usage: supervise [--detach] STAGE_DIR GRACE_S -- ARGV...\n")
        return int(ExitCode.USAGE)
    try:
        return Supervisor(StagePaths(Path(folder)), float(grace_s), argv).run()
    except XopsError as error:
        hand_off({"error": str(error), "hint": error.hint, "code": int(error.exit_code)})
        return int(error.exit_code)
    except OSError as error:
        hand_off({"error": f"{error.strerror}: {error.filename or folder}", "code": int(ExitCode.IO)})
        return int(ExitCode.IO)


def _next_attempt(paths: StagePaths) -> AttemptPaths:
    known = paths.list_attempts()
    attempt = paths.attempt(known[-1].number + 1 if known else 1)
    attempt.root.mkdir(parents=True)
    return attempt


def _wake_on_signals() -> int:
    """Turn signals into bytes on a pipe, so that nothing is handled in the middle of a write."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read


def _drain(fd: int) -> set[int]:
    try:
        return set(os.read(fd, 4096))
    except BlockingIOError:
        return set()


def _signal_group(pgid: int, signum: int) -> None:
    try:
        os.killpg(pgid, signum)
    except ProcessLookupError:
        return


def _report(fd: int) -> dict[str, str]:
    """What the stage said about its end, through a pipe that needs no disk; empty if nothing."""
    try:
        found = json.loads(os.read(fd, _REPORT_LIMIT) or b"{}")
    except (BlockingIOError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Starting an attempt so that it outlives the terminal, and knowing that it really started.

`launch` returns only when the stage's main process exists (the hand-off record) or raises with the reason
why it does not: nothing in xops shows a stage as running because somebody pressed a key.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from pipeline.engine import records
from pipeline.engine.claim import holder
from pipeline.engine.errors import BusyError, ExitCode, StageFailedError, WaitTimedOutError, XopsError
from pipeline.engine.paths import StageAddress, StagePaths

#: The process that runs one stage; a name, because the engine imports no stage.
DISPATCHER = "pipeline.stages.run"

_PATIENCE_S = 30.0


class Handoff(Struct, frozen=True, kw_only=True):
    """Proof that an attempt runs.

    Attributes:
        run_id, stage, shard: what was started; shard is None for a whole stage.
        attempt: its number, from 1.
        pid: the stage's main process on `host`.
        host: where.
        stdout: the file it prints to.
    """

    run_id: str
    stage: str
    shard: int | None
    attempt: int
    pid: int
    host: str
    stdout: str


def stage_argv(paths: StagePaths, shard: tuple[int, int] | None = None) -> list[str]:
    """The command that runs a stage, or shard k of n of it."""
    part = [] if shard is None else ["--shard", f"{shard[0]}/{shard[1]}"]
    return [sys.executable, "-P", "-m", DISPATCHER, str(paths.root), *part]


def launch(
    paths: StagePaths, argv: Sequence[str], *, grace_s: float, environ: Mapping[str, str] | None = None
) -> Handoff:
    """Start `argv` as the next attempt of the stage, in a session of its own.

    Args:
        paths: the stage's or shard's directory.
        argv: command, usually `stage_argv(paths)`.
        grace_s: seconds between SIGTERM and SIGKILL when it is cancelled.
        environ: environment of the attempt; by default this process's.

    Raises:
        BusyError: an attempt still runs, or processes of one do; the message names the holder.
        StageFailedError: the command could not be started.
        WaitTimedOutError: the supervisor said nothing for 30 s.
    """
    require_free(paths)
    paths.root.mkdir(parents=True, exist_ok=True)
    supervisor = [sys.executable, "-P", "-m", "pipeline.engine.supervise", "--detach", str(paths.root)]
    with paths.supervisor_log.open("ab") as log:
        process = subprocess.Popen(
            [*supervisor, repr(grace_s), "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=_clean(os.environ if environ is None else environ),
        )
    said = _first_line(process, paths)
    process.wait()
    if "error" in said:
        raise _refusal(said)
    address = StageAddress.of(paths.root)
    return Handoff(
        run_id=address.run.run_id,
        stage=address.stage,
        shard=address.shard,
        attempt=said["attempt"],
        pid=said["pid"],
        host=os.uname().nodename,
        stdout=str(paths.attempt(said["attempt"]).stdout),
    )


def require_free(paths: StagePaths) -> None:
    """Raise BusyError if the claim is held or processes of a lost attempt are still alive."""
    address = StageAddress.of(paths.root)
    where = f"{address.run.run_id} --stage {address.stage}"
    if (who := holder(paths.claim)) is not None:
        raise BusyError(f"{address} is held by {who}", hint=f"xops run cancel {where}")
    attempts = paths.list_attempts()
    record = records.read_process(attempts[-1]) if attempts and not attempts[-1].exit.exists() else None
    if record and (left := record.survivors()):
        pids = ", ".join(map(str, left))
        raise BusyError(
            f"{address}: processes of a lost attempt are alive: {pids}", hint=f"xops run reap {where}"
        )


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Without what belongs to the attempt that starts this one, such as the conductor's own."""
    return {name: value for name, value in environ.items() if name not in records.PRIVATE_ENV}


def _first_line(process: subprocess.Popen[bytes], paths: StagePaths) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    with process.stdout as pipe:
        if not select.select([pipe], [], [], _PATIENCE_S)[0]:
            raise WaitTimedOutError(
                f"the supervisor of {StageAddress.of(paths.root)} said nothing for {_PATIENCE_S:g} s",
                hint=f"look at {paths.supervisor_log}",
            )
        line = pipe.readline()
    if not line:
        raise StageFailedError(
            f"the supervisor of {StageAddress.of(paths.root)} ended before it started anything",
            hint=f"look at {paths.supervisor_log}",
        )
    said: dict[str, Any] = json.loads(line)
    return said


def _refusal(said: dict[str, Any]) -> XopsError:
    kind = BusyError if said.get("code") == ExitCode.BUSY else StageFailedError
    return kind(said["error"], hint=said.get("hint", ""))

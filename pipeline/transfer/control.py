"""What an operator changes about a relay or transfer that runs: a small file the stage looks at every second.

It lies in the stage's directory, survives restarts, and every change is a line in the run's journal.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine.acts import recorded
from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError
from pipeline.engine.files import publish_json, read_record
from pipeline.engine.journal import operator
from pipeline.engine.paths import RunPaths, StagePaths
from pipeline.engine.runs import load_request

FILE = "control.json"

#: Requests for a retry that are kept; older ones were long served.
_RETRIES = 100


class Retry(Struct, frozen=True):
    """A request to send something again.

    Attributes:
        file: relative path.
        chunk: which; None for all that is missing of the file.
        serial: the control's when it was asked, so that it is served once.
    """

    file: str
    chunk: int | None
    serial: int


class Control(Struct, frozen=True, kw_only=True):
    """What is wanted now; None leaves the stage's own parameter in force.

    Attributes:
        download_paused, transfer_paused: which sides stand still.
        lanes: most connections.
        bandwidth_mib_per_s: cap of the transfer; 0 for none.
        retry: what to send again.
        serial: raised by every change.
        who, at: the last change.
    """

    download_paused: bool = False
    transfer_paused: bool = False
    lanes: int | None = None
    bandwidth_mib_per_s: float | None = None
    retry: tuple[Retry, ...] = ()
    serial: int = 0
    who: str = ""
    at: float = 0.0


def read_control(paths: StagePaths) -> Control:
    """The control of a stage; the default where there is none, or where it is damaged."""
    try:
        record = read_record(paths.root / FILE)
        return msgspec.convert(record, Control) if record else Control()
    except (DamagedFileError, msgspec.ValidationError):
        return Control()


def change_control(
    run: RunPaths,
    stage: str,
    *,
    retry: tuple[str, int | None] | None = None,
    dry_run: bool = False,
    who: str = "",
    **changes: Any,
) -> Control:
    """Change some of a stage's control; journalled.

    Args:
        run: whose.
        stage: `relay` or `transfer`.
        retry: (file, chunk) to send again.
        dry_run: change nothing.
        who: on whose behalf; the operator at this terminal by default.
        changes: fields of `Control`.

    Raises:
        UsageError: a value makes no sense.
        NotFoundError: there is no such run, or it has no such stage.
    """
    _check(changes)
    if stage not in load_request(run).stages:
        raise NotFoundError(f"run {run.run_id} has no stage {stage!r}", hint="--stage relay or transfer")
    paths = run.stage(stage)
    with recorded(run, "limit", dry_run, who, stage) as detail, _locked(paths):
        before = read_control(paths)
        serial = before.serial + 1
        if retry is not None:
            asked = Retry(retry[0], retry[1], serial)
            changes["retry"] = (*before.retry, asked)[-_RETRIES:]
        after = msgspec.structs.replace(
            before, **changes, serial=serial, who=who or operator(), at=time.time()
        )
        detail |= {key: msgspec.to_builtins(value) for key, value in changes.items() if key != "retry"}
        if retry is not None:
            detail["retry"] = list(retry)
        if not dry_run:
            publish_json(paths.root / FILE, msgspec.to_builtins(after))
    return after


def _check(changes: dict[str, Any]) -> None:
    lanes = changes.get("lanes")
    if lanes is not None and not 1 <= lanes <= 64:
        raise UsageError(f"{lanes} connections make no sense", hint="1 to 64; 4 to 8 are enough")
    bandwidth = changes.get("bandwidth_mib_per_s")
    if bandwidth is not None and bandwidth < 0:
        raise UsageError(f"a cap of {bandwidth} MiB/s makes no sense", hint="0 removes the cap")


@contextmanager
def _locked(paths: StagePaths) -> Iterator[None]:
    """Two consoles may change it at once."""
    paths.root.mkdir(parents=True, exist_ok=True)
    with (paths.root / f".{FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

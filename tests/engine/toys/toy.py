"""A stage whose behaviour is a parameter: works, pauses, fails, forks, prints, as a test asks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pipeline.engine.context import StageContext
from pipeline.engine.errors import UnreachableError


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the toy does.

    Attributes:
        act: name of one of the functions below.
        value: what it writes to out/value.txt.
        items: how many items it counts.
        pause_at: item after which it waits for the file `release` in its stage directory; -1 for never.
        gate: answer of its only check; `sign` asks for a person.
        reads: file outside the run, compared by content.
        deaths: attempts that `dies` does not survive.
        seed: recorded in resolved.json.
    """

    act: str = "work"
    value: str = "v"
    items: int = 10
    pause_at: int = -1
    gate: str = ""
    reads: str = ""
    deaths: int = 1
    seed: int = 7


def inputs(params: Params) -> list[tuple[str, Path, str]]:
    """The files outside the run that the toy reads."""
    return [("given", Path(params.reads), "content")] if params.reads else []


def run(context: StageContext) -> None:
    """Do what `act` says."""
    globals()[context.params.act](context)


def work(context: StageContext) -> None:
    """Count items, each exactly once over all attempts, then publish."""
    params = context.params
    log = context.work / "done.txt"
    done = [int(line) for line in log.read_text().split()] if log.exists() else []
    offset, stride = context.shard or (0, 1)
    todo = [item for item in range(offset, params.items, stride) if item not in done]
    with log.open("a") as file:
        for item in todo:
            context.check_cancelled()
            file.write(f"{item}\n")
            file.flush()
            context.emit("item_done", done=len(done), total=params.items, unit="items", item=item)
            if item == params.pause_at:
                wait_for_release(context)
    parts = [
        (path / "value.txt").read_text()
        for name in context.upstreams
        for path in context.upstream_parts(name)
    ]
    (context.out / "value.txt").write_text("+".join([*parts, params.value]))
    (context.out / "items.txt").write_text(log.read_text())
    if params.gate == "sign":
        context.needs_signature("looked_at", "a person has to look", items=params.items)
    elif params.gate:
        context.check(
            "is_good", params.gate == "pass", f"the gate was told to {params.gate}", items=params.items
        )


def wait_for_release(context: StageContext) -> None:
    """Say so, then wait for a file or a cancellation."""
    context.emit("paused")
    while not (context.paths.root / "release").exists():
        context.check_cancelled()
        time.sleep(0.01)


def stubborn(context: StageContext) -> None:
    """Ignore SIGTERM until released."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.emit("paused")
    while not (context.paths.root / "release").exists():
        time.sleep(0.01)


def forks(context: StageContext) -> None:
    """Fork two workers that ignore SIGTERM, as data loaders do, then wait."""
    for _ in range(2):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
            os._exit(0)
    wait_for_release(context)


def strays(context: StageContext) -> None:
    """Start a worker in a session of its own that holds no descriptor of ours, as torchrun does."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    context.emit("worker", pid=child.pid)
    wait_for_release(context)


def fails(context: StageContext) -> None:
    """Fail with a message of its own."""
    raise UnreachableError("host beta does not answer", hint="ssh beta true")


def dies(context: StageContext) -> None:
    """Count one item and be killed, as often as `deaths` says; shard 1 only, if there are shards."""
    if context.attempt <= context.params.deaths and context.shard in (None, (1, 2)):
        (context.work / "done.txt").write_text("1\n")
        os.kill(os.getpid(), signal.SIGKILL)
    work(context)


def crashes(context: StageContext) -> None:
    """Fail with a defect."""
    raise ZeroDivisionError("1/0")


def out_of_space(context: StageContext) -> None:
    """Fail as a full disk makes a write fail."""
    raise OSError(errno.ENOSPC, "No space left on device", str(context.out / "big.bin"))


def prints(context: StageContext) -> None:
    """Print far too much, slowly enough for the supervisor to notice."""
    print("first line")
    while not (context.paths.root / "release").exists():
        context.check_cancelled()
        print("x" * 65536, flush=True)
        time.sleep(0.001)
    print("last line")


def external(context: StageContext) -> None:
    """Make a data root outside the run."""
    root = context.workspace.root / "data"
    root.mkdir(exist_ok=True)
    (root / "episode.bin").write_bytes(b"12345")
    context.artefact("data_root", root)

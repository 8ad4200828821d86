"""The embedded demo: a workspace with a generated dataset, its own Hub and training host, and a run.

The product code does not know that it is a demo: the workspace's configuration names an endpoint and a host,
and that is all. Hub and host are processes of their own that outlive this one, so that stages go on after
the console was left, and end by themselves after ten minutes without being used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from pipeline.engine import procfs
from pipeline.engine.config import load_config
from pipeline.engine.errors import StageFailedError, UnreachableError, UsageError
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.records import read_process
from pipeline.engine.registry import Registry

if TYPE_CHECKING:
    from pipeline.engine.store import Store

RECIPE = "demo"

#: Shards of its evaluation.
SHARDS = 2
REPO_ID = "standin/xperience-10m"

#: Seconds without use after which the demo's Hub and host end.
IDLE_EXIT_S = 600

#: The stand-ins, and where in the workspace each keeps what is its own.
SERVICES = ("hub", "sshd")

_START_S = 20.0

_TEMPLATE = """\
# The embedded demo: a generated dataset behind a stand-in Hub, and a stand-in training host, on this machine.
name = "demo"

[dataset]
repo_id = "{repo_id}"
endpoint = "http://127.0.0.1:{hub}"

[hosts.training]
address = "standin@127.0.0.1:{sshd}"
role = "training"
data_root = "{root}/data"
ssh_key = "{root}/sshd/user_key"
"""


def prepare(root: Path) -> WorkspacePaths:
    """Make or reuse the demo's workspace below `root`, with its Hub and training host answering.

    Raises:
        UsageError: `root` is a workspace, but not a demo's.
        StageFailedError: the dataset could not be made.
        UnreachableError: a stand-in does not start.
    """
    workspace = WorkspacePaths(root.expanduser().absolute())
    if not workspace.config.exists():
        _make("pipeline.standin.world", workspace.root / "hub")
        _make("pipeline.standin.qwen", workspace.root / "model")
        workspace.runs.mkdir(exist_ok=True)
        text = _TEMPLATE.format(
            repo_id=REPO_ID, hub=_free_port(), sshd=_free_port(), root=workspace.root.as_posix()
        )
        workspace.config.write_text(text, "utf-8")
    config = load_config(workspace).values
    if config.dataset.repo_id != REPO_ID:
        raise UsageError(
            f"{workspace.root} is a workspace of its own, not a demo", hint="xops demo --dir NEW_DIRECTORY"
        )
    hub = urlsplit(config.dataset.endpoint).port or 0
    sshd = int(config.hosts["training"].address.rpartition(":")[2])
    for name, port, options in (("hub", hub, ("--open",)), ("sshd", sshd, ())):
        if not _answers(port):
            _start(workspace, name, port, options)
    return workspace


def create(
    workspace: WorkspacePaths, registry: Registry, *, train: Mapping[str, Any] | None = None
) -> RunPaths:
    """A new run of the demo's recipe, with other parameters of its training if wanted; nothing is started."""
    from pipeline.engine.runs import create_run

    config = load_config(workspace).values
    known = str(workspace.root / "sshd" / "known_hosts")
    params: dict[str, dict[str, Any]] = {
        stage: {"known_hosts": known, "relay_root": str(workspace.root / "relay")}
        for stage in ("preflight", "relay")
    }
    params["train"] = {"model_dir": str(workspace.root / "model"), **(train or {})}
    return create_run(
        workspace, registry, config, recipe=RECIPE, kind="pilot", params=params, shards={"eval": SHARDS}
    )


def follow(run: RunPaths, registry: Registry, told: Callable[[str], None], *, poll_s: float = 0.3) -> None:
    """Tell every change of a stage's state, and its progress, until nothing of the run works any more.

    When the evaluation has begun, one of its shards is killed, so that the others are seen to take over.
    """
    from pipeline.engine.status import read_run

    known: dict[str, str] = {}
    stores: dict[Path, Store] = {}
    killed = False
    while True:
        status = read_run(run, registry)
        for stage in status.stages:
            line = f"{stage.stage}: {stage.state.value}{_progress(run, stage.stage, stores)}"
            if known.get(stage.stage) != line and stage.attempts:
                told(line)
            known[stage.stage] = line
        if not killed and (killed := kill_a_shard(run)):
            told(f"eval: the demo kills shard {SHARDS - 1}; the others take its rows")
        if status.conductor is None and not any(stage.state.active for stage in status.stages):
            return
        time.sleep(poll_s)


def kill_a_shard(run: RunPaths) -> bool:
    """Kill the last shard of the evaluation once it has answered something; whether it was done.

    SIGKILL to its whole process group, as a lost GPU or an impatient neighbour would.
    """
    shard = run.stage("eval").shard(SHARDS - 1)
    partial = shard.work / "predictions.partial.jsonl"
    if not partial.is_file() or not partial.stat().st_size:
        return False
    process = read_process(shard.attempt(1))
    if process is None or not process.pgid or process.host != socket.gethostname():
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pgid, signal.SIGKILL)
    return True


def sign_what_waits(run: RunPaths, registry: Registry, told: Callable[[str], None]) -> bool:
    """Sign the gates that only a person can open, as the demo's operator; whether there was one.

    It is the same act as an operator's, in the journal under the demo's name: nobody looked at a generated
    dataset, and the reason says so.
    """
    from pipeline.engine.decisions import sign
    from pipeline.engine.gates import Verdict
    from pipeline.engine.status import read_run

    waiting = [stage for stage in read_run(run, registry).stages if stage.verdict is Verdict.UNSIGNED]
    for stage in waiting:
        told(f"{stage.stage}: its gate wants a signature; the demo signs for you")
        sign(run, registry, stage.stage, why="the demo: nobody read the report of a generated dataset")
    return bool(waiting)


def stop_services(workspace: WorkspacePaths) -> None:
    """End the demo's Hub and host, if they are those this workspace started."""
    for name in SERVICES:
        record = _pid_file(workspace, name)
        try:
            service = msgspec.json.decode(record.read_bytes(), type=procfs.Identity)
        except (FileNotFoundError, msgspec.MsgspecError):
            continue
        if service.alive():
            os.kill(service.pid, signal.SIGTERM)
        record.unlink(missing_ok=True)


def _make(module: str, folder: Path) -> None:
    """Have episodes or a base model made, in a process that may load what they need."""
    made = subprocess.run(
        [sys.executable, "-P", "-m", module, str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        told = made.stderr.strip().splitlines() or [f"exit status {made.returncode}"]
        raise StageFailedError(
            f"the demo's {folder.name} cannot be made: {told[-1]}", hint="pip install 'xops[ml]'"
        )


def _progress(run: RunPaths, stage: str, stores: dict[Path, Store]) -> str:
    """`done/total unit` of a stage; each log is read on from where it was left."""
    from pipeline.engine.store import Store

    path = run.stage(stage).progress
    if not path.exists():
        return ""
    store = stores.setdefault(path, Store([path], remember=False))
    store.catch_up()
    view = store.view(path)
    if view is None or view.done is None or not view.total:
        return ""
    return f" {view.done:g}/{view.total:g} {view.unit or ''}".rstrip()


def _pid_file(workspace: WorkspacePaths, name: str) -> Path:
    return workspace.root / f"{name}.pid.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _start(workspace: WorkspacePaths, name: str, port: int, options: Sequence[str]) -> None:
    log = workspace.root / f"{name}.log"
    command = [sys.executable, "-P", "-m", f"pipeline.standin.{name}", str(workspace.root / name), *options]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--idle-exit", str(IDLE_EXIT_S)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    identity = procfs.identify(process.pid)
    if identity is not None:
        _pid_file(workspace, name).write_bytes(msgspec.json.encode(identity))
    end = time.monotonic() + _START_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > end:
            raise UnreachableError(f"the demo's {name} did not start", hint=f"look at {log}")
        time.sleep(0.05)

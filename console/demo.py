"""The embedded demo: a workspace with a generated dataset, its own Hub, and a run of recipe `demo`.

The product code does not know that it is a demo: the workspace's configuration names an endpoint, and
that is all. The Hub is a process of its own that outlives this one, so that stages go on after the console
was left, and ends by itself after ten minutes without a request.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from pipeline.engine.config import load_config
from pipeline.engine.errors import UnreachableError, UsageError
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import Registry

RECIPE = "demo"
REPO_ID = "standin/xperience-10m"

#: Seconds without a request after which the demo's Hub ends.
IDLE_EXIT_S = 600

_START_S = 20.0

_TEMPLATE = """\
# The embedded demo: a generated dataset behind a stand-in Hub on this machine.
name = "demo"

[dataset]
repo_id = "{repo_id}"
endpoint = "http://127.0.0.1:{port}"
"""


def prepare(root: Path) -> WorkspacePaths:
    """Make or reuse the demo's workspace below `root`, with its Hub answering.

    Raises:
        UsageError: `root` is a workspace, but not a demo's.
        UnreachableError: the Hub does not start.
    """
    from pipeline.standin.world import make_world

    workspace = WorkspacePaths(root.expanduser().absolute())
    if not workspace.config.exists():
        make_world(workspace.root / "hub")
        workspace.runs.mkdir(exist_ok=True)
        workspace.config.write_text(_TEMPLATE.format(repo_id=REPO_ID, port=_free_port()), "utf-8")
    dataset = load_config(workspace).values.dataset
    if dataset.repo_id != REPO_ID:
        raise UsageError(
            f"{workspace.root} is a workspace of its own, not a demo", hint="xops demo --dir NEW_DIRECTORY"
        )
    port = urlsplit(dataset.endpoint).port or 0
    if not _answers(port):
        _start_hub(workspace, port)
    return workspace


def create(workspace: WorkspacePaths, registry: Registry) -> RunPaths:
    """A new run of the demo's recipe; nothing is started."""
    from pipeline.engine.runs import create_run

    return create_run(workspace, registry, load_config(workspace).values, recipe=RECIPE, kind="smoke")


def follow(run: RunPaths, registry: Registry, told: Callable[[str], None], *, poll_s: float = 0.3) -> None:
    """Tell every change of a stage's state, and its progress, until nothing of the run works any more."""
    from pipeline.engine.status import read_run

    known: dict[str, str] = {}
    while True:
        status = read_run(run, registry)
        for stage in status.stages:
            line = f"{stage.stage}: {stage.state.value}{_progress(run, stage.stage)}"
            if known.get(stage.stage) != line and stage.attempts:
                told(line)
            known[stage.stage] = line
        if status.conductor is None and not any(stage.state.active for stage in status.stages):
            return
        time.sleep(poll_s)


def stop_hub(workspace: WorkspacePaths) -> None:
    """End the demo's Hub, if it is the one this workspace started."""
    import signal

    from pipeline.engine import procfs

    try:
        hub = msgspec.json.decode(_pid_file(workspace).read_bytes(), type=procfs.Identity)
    except (FileNotFoundError, msgspec.MsgspecError):
        return
    if hub.alive():
        os.kill(hub.pid, signal.SIGTERM)
    _pid_file(workspace).unlink(missing_ok=True)


def _progress(run: RunPaths, stage: str) -> str:
    from pipeline.engine.store import Store

    path = run.stage(stage).progress
    if not path.exists():
        return ""
    store = Store([path], remember=False)
    store.catch_up()
    view = store.view(path)
    if view is None or view.done is None or not view.total:
        return ""
    return f" {view.done:g}/{view.total:g} {view.unit or ''}".rstrip()


def _pid_file(workspace: WorkspacePaths) -> Path:
    return workspace.root / "hub.pid.json"


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


def _start_hub(workspace: WorkspacePaths, port: int) -> None:
    from pipeline.engine import procfs

    command = [sys.executable, "-P", "-m", "pipeline.standin.hub", str(workspace.root / "hub"), "--open"]
    with (workspace.root / "hub.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--idle-exit", str(IDLE_EXIT_S)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    identity = procfs.identify(process.pid)
    if identity is not None:
        _pid_file(workspace).write_bytes(msgspec.json.encode(identity))
    end = time.monotonic() + _START_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > end:
            raise UnreachableError(
                "the demo's Hub did not start", hint=f"look at {workspace.root / 'hub.log'}"
            )
        time.sleep(0.05)

"""Checks of the machine xops runs on: what would surprise an operator at 3 a.m., each row with its fix.

Nothing here changes anything, contacts a host, or shows a secret.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from pipeline.engine.paths import WorkspacePaths

#: Below this many free bytes (5 GiB) a workspace cannot hold the logs and manifests of a real run.
LOW_SPACE = 5 * 1024**3


#: Below this many available bytes (2 GiB) a stage that reads episodes may be killed for memory.
LOW_MEMORY = 2 * 1024**3


class Finding(Struct, frozen=True):
    """One row of a check-up.

    Attributes:
        name: what was looked at.
        status: `ok`, `warn` (works, but will surprise) or `fail` (something asked for cannot work).
        detail: what was found.
        fix: what to do about it; empty when nothing is wrong.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str = ""


def examine(workspace: WorkspacePaths | None) -> list[Finding]:
    """All checks of this machine, in the order an operator would ask."""
    root = workspace.root if workspace else Path.cwd()
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _memory,
        lambda: _space(root),
        lambda: _file_system(root),
        _state_directory,
        lambda: _survival(os.environ),
        _tools,
        _gpus,
        lambda: _token(os.environ),
    )
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok", f"{version} at {sys.executable}")


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    free, total = memory.available / 1024**3, memory.total / 1024**3
    text = f"{free:.1f} GiB of {total:.1f} available, load {load:.1f} per core"
    low = memory.available < LOW_MEMORY
    yield Finding(
        "memory", "warn" if low else "ok", text, "see who holds it: ps aux --sort=-rss" if low else ""
    )


def _space(root: Path) -> Iterator[Finding]:
    usage = shutil.disk_usage(root)
    inodes = os.statvfs(root)
    text = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.1f} free at {root}"
    low = usage.free < LOW_SPACE
    yield Finding("disk", "warn" if low else "ok", text, "free space or move the workspace" if low else "")
    if inodes.f_files and inodes.f_favail < 10_000:
        yield Finding("inodes", "warn", f"{inodes.f_favail} left at {root}", "delete small files there")


def _file_system(root: Path) -> Iterator[Finding]:
    kind = file_system_type(root)
    shared = kind in ("nfs", "nfs4", "lustre", "gpfs", "fuse", "cifs", "beegfs") or kind.startswith("fuse.")
    detail = f"{kind or 'unknown'} at {root}"
    fix = "locks are advice only there: start stages from one host at a time" if shared else ""
    yield Finding("file system", "warn" if shared else "ok", detail, fix)


def file_system_type(path: Path) -> str:
    """Type of the file system `path` lies on, from /proc/mounts; empty when it cannot be told."""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    target = str(path.absolute())
    best, kind = "", ""
    for fields in (line.split(" ") for line in mounts):
        point = fields[1].replace("\\040", " ") if len(fields) > 2 else ""
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if point and inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _state_directory() -> Iterator[Finding]:
    import platformdirs

    state = Path(platformdirs.user_state_dir("xops"))
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    if os.access(existing, os.W_OK):
        yield Finding("state directory", "ok", str(state))
    else:
        fix = "set XDG_STATE_HOME to a directory that is"
        yield Finding("state directory", "fail", f"{existing} is not writable", fix)


def _survival(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a stage outlives the login session (setsid is not enough under KillUserProcesses=yes)."""
    if not (shutil.which("loginctl") and environ.get("XDG_SESSION_ID")):
        yield Finding("logout", "ok", "no login manager here ends processes at logout")
        return
    user = environ.get("USER") or str(os.getuid())
    manager = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"]
    kills = _run(["busctl", "get-property", *manager, "KillUserProcesses"])
    lingers = _run(["loginctl", "show-user", user, "--property=Linger", "--value"])
    if "true" in kills and "yes" not in lingers:
        yield Finding(
            "logout", "warn", "this host ends your processes at logout", f"loginctl enable-linger {user}"
        )
    else:
        yield Finding("logout", "ok", "stages survive a logout")


def _tools() -> Iterator[Finding]:
    wanted = {"ssh": "openssh-client", "rsync": "rsync", "tmux": "tmux"}
    for tool, package in wanted.items():
        found = shutil.which(tool)
        status: Literal["ok", "warn"] = "ok" if found else "warn"
        yield Finding(tool, status, found or "not on PATH", "" if found else f"apt-get install {package}")


def _gpus() -> Iterator[Finding]:
    if not shutil.which("nvidia-smi"):
        yield Finding("gpus", "ok", "none: stages run on the CPU")
        return
    listed = _run(["nvidia-smi", "--query-gpu=name,memory.used,memory.total", "--format=csv,noheader"])
    rows = [line for line in listed.splitlines() if line.strip()]
    if rows:
        yield Finding("gpus", "ok", "; ".join(rows))
    else:
        yield Finding("gpus", "fail", "nvidia-smi does not answer", "check the driver: nvidia-smi")


def _token(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say where a Hub token comes from; its value is never read into a message."""
    home = Path(
        environ.get("HF_HOME") or Path(environ.get("HOME", "/nonexistent")) / ".cache" / "huggingface"
    )
    if environ.get("HF_TOKEN"):
        yield Finding("hub token", "ok", "from HF_TOKEN")
    elif (home / "token").is_file():
        yield Finding("hub token", "ok", f"from {home / 'token'}")
    else:
        yield Finding("hub token", "warn", "none: the gated dataset cannot be read", "hf auth login")


def _run(command: list[str]) -> str:
    """Standard output of a short-lived command; empty when it fails or takes over 5 s."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""

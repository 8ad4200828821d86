"""The records of one attempt: who runs it (`process.json`), how it ended (`exit.json`), in what environment.

Plain dataclasses that the supervisor writes and everyone reads. Unknown fields are ignored and missing
ones take defaults, so records of other versions stay readable. Standard library only, because the
supervisor uses it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.engine import procfs
from pipeline.engine.errors import DamagedFileError
from pipeline.engine.files import encode_json, publish_json, read_record
from pipeline.engine.paths import AttemptPaths

#: Environment variables that tell a stage process about its attempt.
ENV_ATTEMPT = "STAGE_ATTEMPT"
ENV_TOKEN = "STAGE_ATTEMPT_TOKEN"  # noqa: S105 - marks the processes of an attempt; opens nothing
ENV_SUPERVISOR = "STAGE_SUPERVISOR_PID"
ENV_REPORT = "STAGE_REPORT_FD"
PRIVATE_ENV = (ENV_ATTEMPT, ENV_TOKEN, ENV_SUPERVISOR, ENV_REPORT)

#: What env.json may hold: what explains a difference between two attempts, and never a credential.
_ENV_NAMES = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX"}
    | {"PYTHONPATH", "LD_LIBRARY_PATH", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    | {"HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "XOPS_WORKSPACE", "XOPS_REGISTRY"}
    | {"MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE"}
)
_ENV_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "SLURM_")
_SECRETIVE = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "AUTH")

_RESERVE_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """The hand-off record: written once the stage's main process exists.

    Attributes:
        pid, pgid, start_ticks: the main process and its group.
        supervisor, supervisor_ticks: the process that watches it.
        boot_id, host, user: where, and as whom.
        token: value of `STAGE_ATTEMPT_TOKEN` in the environment of all its processes.
        argv: what was started.
        started: Unix seconds.
    """

    pid: int = 0
    pgid: int = 0
    start_ticks: int = 0
    supervisor: int = 0
    supervisor_ticks: int = 0
    boot_id: str = ""
    host: str = ""
    user: str = ""
    token: str = ""
    argv: tuple[str, ...] = ()
    started: float = 0.0

    @property
    def main(self) -> procfs.Identity:
        """The stage's main process."""
        return procfs.Identity(self.pid, self.start_ticks, self.boot_id, self.host)

    @property
    def watcher(self) -> procfs.Identity:
        """The supervisor."""
        return procfs.Identity(self.supervisor, self.supervisor_ticks, self.boot_id, self.host)

    @property
    def here(self) -> bool:
        """Whether the attempt ran on this host in its current boot."""
        return self.host == procfs.host() and self.boot_id == procfs.boot_id()

    def survivors(self) -> list[int]:
        """Living processes of the attempt other than the supervisor, on this host; empty on any other."""
        return procfs.with_environment(f"{ENV_TOKEN}={self.token}") if self.here and self.token else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """How an attempt ended.

    Attributes:
        outcome: `done`, `failed` or `cancelled`.
        rc: exit status; minus the signal's number when a signal ended it.
        ended: Unix seconds.
        message, hint: what the operator is told, and what to type next.
        kind: class of the error; empty for signals and success.
        max_rss_mb, cpu_s: peak memory of its largest process and processor time of all, mebibytes, seconds.
        orphans_killed: whether workers outlived the main process and were killed.
        events_lost: engine events that could not be written (full disk).
        stdout_dropped: bytes cut out of an oversized stdout.log.
    """

    outcome: str = "failed"
    rc: int | None = None
    ended: float = 0.0
    message: str = ""
    hint: str = ""
    kind: str = ""
    max_rss_mb: int = 0
    cpu_s: float = 0.0
    orphans_killed: bool = False
    events_lost: int = 0
    stdout_dropped: int = 0


def read_process(paths: AttemptPaths) -> ProcessRecord | None:
    """The attempt's process.json; None if it never got that far."""
    found = read_record(paths.process)
    return None if found is None else _fill(ProcessRecord, found, paths.process)


def read_exit(paths: AttemptPaths) -> ExitRecord | None:
    """The attempt's exit.json; None while it runs and after a lost supervisor."""
    found = read_record(paths.exit)
    return None if found is None else _fill(ExitRecord, found, paths.exit)


def publish_process(paths: AttemptPaths, record: ProcessRecord) -> None:
    """Write process.json."""
    publish_json(paths.process, asdict(record))


class ExitSlot:
    """Room on disk for exit.json, taken at the start of the attempt.

    A full disk is a common way for an attempt to end, and the end must be recorded all the same: the
    reserved blocks are overwritten in place and the file is renamed.
    """

    def __init__(self, paths: AttemptPaths) -> None:
        self._paths = paths
        with paths.reserve.open("wb") as file:
            file.write(b" " * _RESERVE_BYTES)
            file.flush()
            os.fsync(file.fileno())

    def publish(self, record: ExitRecord) -> None:
        """Write exit.json into the reserved room; an overlong message is cut."""
        data = encode_json(asdict(record))
        if len(data) > _RESERVE_BYTES:
            data = encode_json(
                {**asdict(record), "message": record.message[:1000], "hint": record.hint[:500]}
            )
        with self._paths.reserve.open("r+b") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._paths.reserve.replace(self._paths.exit)


def visible_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that may be written down (`env.json`)."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if (name in _ENV_NAMES or name.startswith(_ENV_PREFIXES)) and not any(s in name for s in _SECRETIVE)
    }


def _fill(kind: type[Any], found: dict[str, Any], path: os.PathLike[str]) -> Any:
    """Build a record from JSON, checking that each value has its default's type."""
    known: dict[str, Any] = {}
    for field in fields(kind):
        value = found.get(field.name, field.default)
        value = tuple(value) if isinstance(value, list) else value
        if field.default is not None and not isinstance(value, _accepted(field.default)):
            raise DamagedFileError(f"{os.fspath(path)}: {field.name} is {type(value).__name__}")
        known[field.name] = value
    return kind(**known)


def _accepted(default: object) -> tuple[type, ...]:
    return (int, float) if isinstance(default, float) else (type(default),)

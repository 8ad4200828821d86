"""GPU leases: which device a stage of this host may use.

One `flock` per GPU UUID under `$XDG_STATE_HOME/xops/leases/<host>/`, held like a claim: the descriptor is
inherited by forked workers, so a lease ends when the last process that could use the device is gone. A
device that a process outside xops computes on is not leased. Where a scheduler assigns devices, leases are
off; where there is no GPU, a lease of any size is empty and the stage runs on the CPU.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from pipeline.engine import procfs
from pipeline.engine.claim import Claim, Holder, holder
from pipeline.engine.errors import BusyError, CancelledByOperatorError
from pipeline.engine.log import Emit

#: How often a stage that waits for a device looks again, in seconds.
_RETRY_S = 2.0


class Gpu(Struct, frozen=True):
    """One device of this host.

    Attributes:
        index: as nvidia-smi counts.
        uuid: stable name.
    """

    index: int
    uuid: str


class GpuUse(Struct, frozen=True):
    """A device and who uses it.

    Attributes:
        gpu: which.
        holder: the process that leased it; None if free.
        foreign: pids outside xops that compute on it.
    """

    gpu: Gpu
    holder: Holder | None
    foreign: tuple[int, ...]


class Lease:
    """Devices this process holds.

    Attributes:
        gpus: which; empty without GPUs and under a scheduler.
    """

    def __init__(self, gpus: Sequence[Gpu], claims: Sequence[Claim]) -> None:
        self.gpus = tuple(gpus)
        self._claims = claims

    @property
    def environment(self) -> dict[str, str]:
        """What makes CUDA see exactly the leased devices; empty when nothing was leased."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in self.gpus)} if self.gpus else {}

    def release(self) -> None:
        """Give the devices back."""
        for claim in self._claims:
            claim.release()


def acquire(
    count: int,
    *,
    what: str,
    emit: Emit,
    cancelled: threading.Event,
    environ: Mapping[str, str] | None = None,
) -> Lease:
    """Lease `count` devices, waiting for them if necessary.

    Emits `lease_wait` once if it has to wait and `lease_taken` when it has them.

    Raises:
        BusyError: this host does not have that many devices at all.
        CancelledByOperatorError: cancelled while waiting.
    """
    environ = os.environ if environ is None else environ
    gpus = [] if scheduler_assigns(environ) else visible_gpus(environ)
    if not count or not gpus:
        return Lease((), ())
    if count > len(gpus):
        raise BusyError(
            f"{what} wants {count} GPUs and {procfs.host()} offers {len(gpus)}", hint="xops doctor"
        )
    waited = False
    while (lease := _try(gpus, count, environ)) is None:
        if not waited:
            emit("lease_wait", wanted=count, gpus=[str(use.holder or use.foreign) for use in survey(environ)])
        waited = True
        if cancelled.wait(_RETRY_S):
            raise CancelledByOperatorError(f"{what} was stopped while it waited for {count} GPUs")
    emit("lease_taken", gpus=[gpu.uuid for gpu in lease.gpus], indices=[gpu.index for gpu in lease.gpus])
    return lease


def survey(environ: Mapping[str, str] | None = None) -> list[GpuUse]:
    """Every device of this host and who uses it."""
    environ = os.environ if environ is None else environ
    foreign = _compute_processes()
    return [
        GpuUse(gpu, holder(_lock_file(gpu, environ)), tuple(foreign.get(gpu.uuid, ()))) for gpu in list_gpus()
    ]


def list_gpus() -> list[Gpu]:
    """The devices of this host; empty without an NVIDIA driver."""
    rows = _nvidia_smi("--query-gpu=index,uuid")
    return [Gpu(int(index), uuid) for index, uuid in rows if index.isdecimal() and uuid.startswith("GPU-")]


def visible_gpus(environ: Mapping[str, str]) -> list[Gpu]:
    """Those that `CUDA_VISIBLE_DEVICES` leaves, by index or UUID."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    gpus = list_gpus()
    if chosen is None:
        return gpus
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    return [gpu for gpu in gpus if any(name == str(gpu.index) or gpu.uuid.startswith(name) for name in names)]


def scheduler_assigns(environ: Mapping[str, str]) -> bool:
    """Whether a batch system already decided which devices this process sees."""
    return "SLURM_JOB_ID" in environ and "CUDA_VISIBLE_DEVICES" in environ


def _try(gpus: Sequence[Gpu], count: int, environ: Mapping[str, str]) -> Lease | None:
    """Lease `count` devices now, or none of them; one process of the host at a time tries."""
    folder = _folder(environ)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "allocate.lock").open("wb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        foreign = _compute_processes()
        taken = list(_take((gpu for gpu in gpus if not foreign.get(gpu.uuid)), count, environ))
    lease = Lease([gpu for gpu, _ in taken], [claim for _, claim in taken])
    if len(taken) < count:
        lease.release()
        return None
    return lease


def _take(free: Iterator[Gpu], count: int, environ: Mapping[str, str]) -> Iterator[tuple[Gpu, Claim]]:
    for gpu in free:
        if count == 0:
            return
        try:
            claim = Claim(_lock_file(gpu, environ), what=f"GPU {gpu.index}")
        except BusyError:
            continue
        os.set_inheritable(claim.fd, True)
        count -= 1
        yield gpu, claim


def _lock_file(gpu: Gpu, environ: Mapping[str, str]) -> Path:
    return _folder(environ) / f"{gpu.uuid}.lock"


def _folder(environ: Mapping[str, str]) -> Path:
    state = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/tmp")) / ".local/state")  # noqa: S108
    return Path(state) / "xops" / "leases" / procfs.host()


def _compute_processes() -> dict[str, list[int]]:
    """UUID -> pids that compute on the device; inside a container the driver may show none."""
    found: dict[str, list[int]] = {}
    for uuid, pid in _nvidia_smi("--query-compute-apps=gpu_uuid,pid"):
        if pid.isdecimal():
            found.setdefault(uuid, []).append(int(pid))
    return found


def _nvidia_smi(query: str) -> list[tuple[str, str]]:
    """Rows of two columns; empty if there is no driver or it does not answer."""
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [(row[0], row[1]) for row in rows if len(row) == 2]

"""What training uses of this host, told every few seconds, also while a long phase says nothing else."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import psutil
import torch

from pipeline.engine.log import Emit

INTERVAL_S = 5.0


def device_use(device: torch.device) -> dict[str, Any]:
    """Memory and utilisation of a device in bytes and 0..1, and this process's resident memory."""
    process = psutil.Process()
    used: dict[str, Any] = {"rss": process.memory_info().rss, "name": "cpu"}
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        used |= {
            "name": torch.cuda.get_device_name(device),
            "memory_used": total - free,
            "memory_total": total,
            "memory_peak": torch.cuda.max_memory_allocated(device),
            "utilisation": _utilisation(device),
        }
    else:
        memory = psutil.virtual_memory()
        used |= {
            "memory_used": memory.total - memory.available,
            "memory_total": memory.total,
            "utilisation": psutil.cpu_percent() / 100,
        }
    return used


def _utilisation(device: torch.device) -> float | None:
    """0..1 by NVML; None where its Python binding is not installed."""
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):
        return None


class Pulse:
    """Emits `device` events from a thread while it is open.

    Args:
        emit: where to.
        rank: of this process.
        device: what it uses.
    """

    def __init__(self, emit: Emit, rank: int, device: torch.device) -> None:
        self._emit, self._rank, self._device = emit, rank, device
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._emit("device", rank=self._rank, **device_use(self._device))

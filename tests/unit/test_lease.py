"""GPU leases, with a stand-in for nvidia-smi: exclusive, all or nothing, off under a scheduler."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import lease
from pipeline.engine.errors import BusyError, CancelledByOperatorError

FAKE = """#!/bin/sh
case "$1" in
  --query-gpu=*) printf '0, GPU-aaaa\\n1, GPU-bbbb\\n2, GPU-cccc\\n';;
  --query-compute-apps=*) cat "$FAKE_APPS";;
esac
"""


class Events(list[tuple[str, dict[str, Any]]]):
    def __call__(self, event: str, **fields: Any) -> None:
        self.append((event, fields))


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three devices; returns the file that lists who computes on them."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(FAKE)
    tool.chmod(0o755)
    apps = tmp_path / "apps.csv"
    apps.write_text("")
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_APPS", str(apps))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return apps


def take(count: int, cancelled: threading.Event | None = None, emit: Events | None = None) -> lease.Lease:
    emit = Events() if emit is None else emit
    return lease.acquire(count, what="train", emit=emit, cancelled=cancelled or threading.Event())


def test_two_stages_never_share_a_device(gpus: Path) -> None:
    events = Events()
    first = take(2, emit=events)
    assert first.environment == {"CUDA_VISIBLE_DEVICES": "GPU-aaaa,GPU-bbbb"}
    assert events == [("lease_taken", {"gpus": ["GPU-aaaa", "GPU-bbbb"], "indices": [0, 1]})]
    second = take(1)
    assert [gpu.uuid for gpu in second.gpus] == ["GPU-cccc"]
    assert [use.holder is not None for use in lease.survey()] == [True] * 3
    first.release()
    assert [use.holder is not None for use in lease.survey()] == [False, False, True]
    second.release()


def test_a_device_that_others_compute_on_is_left_alone(gpus: Path) -> None:
    gpus.write_text("GPU-aaaa, 4711\n")
    held = take(1)
    assert [gpu.uuid for gpu in held.gpus] == ["GPU-bbbb"]
    assert lease.survey()[0].foreign == (4711,)
    held.release()


def test_waiting_for_devices_holds_none_and_can_be_cancelled(gpus: Path) -> None:
    first, events, cancelled = take(2), Events(), threading.Event()

    def cancel_when_waiting(event: str, **fields: Any) -> None:
        events(event, **fields)
        cancelled.set()

    with pytest.raises(CancelledByOperatorError, match="waited for 2 GPUs"):
        lease.acquire(2, what="eval", emit=cancel_when_waiting, cancelled=cancelled)
    assert [event for event, _ in events] == ["lease_wait"]
    assert lease.survey()[2].holder is None, "all or nothing"
    first.release()


def test_more_than_there_are_is_refused_at_once(gpus: Path) -> None:
    with pytest.raises(BusyError, match="wants 4 GPUs"):
        take(4)


@pytest.mark.parametrize(("visible", "expected"), [("1", ["GPU-bbbb"]), ("GPU-cc", ["GPU-cccc"]), ("", [])])
def test_the_operators_own_choice_of_devices_counts(
    gpus: Path, monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    held = take(1)
    assert [gpu.uuid for gpu in held.gpus] == expected
    held.release()


def test_a_scheduler_that_assigns_devices_is_obeyed(gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert take(1).environment == {}


def test_without_gpus_a_lease_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    held = take(8)
    assert held.gpus == ()
    assert lease.survey() == []

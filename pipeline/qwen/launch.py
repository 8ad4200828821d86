"""Training in several processes of this host under torchrun, as one stage.

The first process tells events through a pipe; asking it to stop is a file, because torchrun would end its
processes at once on a signal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pipeline.engine.errors import CancelledByOperatorError, StageFailedError
from pipeline.engine.files import publish_json, read_json
from pipeline.engine.log import Emit
from pipeline.qwen.train import RESULT, Job, Result

#: Words in the end of a worker's output, and what they mean to an operator.
_CAUSES = (
    ("OutOfMemoryError", "a GPU ran out of memory", "smaller max_pixels or batch_size, or more processes"),
    ("CUDA out of memory", "a GPU ran out of memory", "smaller max_pixels or batch_size, or more processes"),
    ("Watchdog caught collective", "a collective timed out: one process stopped answering", "resume"),
    ("Connection closed by peer", "a process of the group was lost", "look at stdout.log, then resume"),
    ("Connection reset by peer", "a process of the group was lost", "look at stdout.log, then resume"),
    ("NCCL error", "communication between the GPUs failed", "look at stdout.log, then resume"),
    ("Signal 9", "a process was killed, perhaps for memory", "look at the host's log, then resume"),
)


def train_together(job: Job, work: Path, emit: Emit, stop: Callable[[], bool]) -> Result:
    """Run `job` in as many processes as its settings say.

    Raises:
        CancelledByOperatorError: asked to stop, and the last step is saved.
        StageFailedError: a process failed; says which and why, as far as its output tells.
    """
    pipe, stop_file, job_file = work / "events.pipe", work / "stop", work / "job.json"
    for path in (pipe, stop_file, work / RESULT):
        path.unlink(missing_ok=True)
    os.mkfifo(pipe)
    publish_json(job_file, msgspec.to_builtins(job))
    output = work / "torchrun.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            _command(job, job_file, pipe, stop_file), stdout=log, stderr=subprocess.STDOUT
        )
        told: dict[str, Any] = {}
        listener = threading.Thread(target=_listen, args=(pipe, emit, told), daemon=True)
        listener.start()
        try:
            code = _wait(process, stop, stop_file)
        finally:
            _end(process)
            _hang_up(pipe)
            listener.join(5)
            pipe.unlink(missing_ok=True)
    if told.get("kind") == "CancelledByOperatorError":
        raise CancelledByOperatorError(str(told["message"]), hint=str(told["hint"]))
    if told:
        raise StageFailedError(str(told["message"]), hint=str(told["hint"]))
    if code or not (work / RESULT).is_file():
        raise _failure(code, output)
    return msgspec.convert(read_json(work / RESULT), Result)


def _command(job: Job, *files: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={job.settings.processes}",
        "-m",
        "pipeline.qwen.train",
        *map(str, files),
    ]


def _wait(process: subprocess.Popen[bytes], stop: Callable[[], bool], stop_file: Path) -> int:
    while True:
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            if stop():
                stop_file.touch()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listen(pipe: Path, emit: Emit, told: dict[str, Any]) -> None:
    with pipe.open("rb") as stream:
        for line in stream:
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            event = fields.pop("event")
            if event == "worker_error":
                told.update(fields)
            else:
                emit(event, **fields)


def _hang_up(pipe: Path) -> None:
    """Let a listener that still waits for somebody to write see the end."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return


def _failure(code: int, output: Path) -> StageFailedError:
    text = output.read_bytes()[-20_000:].decode("utf-8", "replace")
    for word, cause, hint in _CAUSES:
        if word in text:
            return StageFailedError(f"{cause} (torchrun ended with {code})", hint=f"{hint}; {output}")
    return StageFailedError(f"torchrun ended with {code}", hint=f"its output is in {output}")

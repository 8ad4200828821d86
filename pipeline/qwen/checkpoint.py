"""Resumable checkpoints: everything that decides the next step, written whole or not at all."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct, field

from pipeline.engine.errors import DamagedFileError

_NAME = "step_{:07d}"
_STATE, _PROGRESS = "state.pt", "progress.json"


class Validation(Struct, frozen=True):
    """One pass over the val rows.

    Attributes:
        step: after which optimizer step.
        loss: mean over answer tokens.
    """

    step: int
    loss: float


class Progress(Struct, kw_only=True):
    """How far a training is.

    Attributes:
        step: optimizer steps done.
        epoch, step_in_epoch: where in the order of rows.
        rows: rows seen, by all processes.
        epoch_loss, epoch_tokens: sums of the running epoch.
        history: a record per finished epoch, keys as published.
        validations: all of them.
        best: the lowest validation.
        settings: digest of what the checkpoint was trained with.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    rows: int = 0
    epoch_loss: float = 0.0
    epoch_tokens: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    best: Validation | None = None
    settings: str = ""


def save_checkpoint(folder: Path, progress: Progress, state: dict[str, Any], *, keep: int) -> Path:
    """Write a checkpoint below `folder`, by rename, and remove the oldest beyond `keep`."""
    final = folder / _NAME.format(progress.step)
    partial = final.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with (partial / _STATE).open("wb") as stream:
        torch.save(state, stream)
        os.fsync(stream.fileno())
    (partial / _PROGRESS).write_bytes(msgspec.json.encode(progress))
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = folder.glob("step_*") if folder.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and path.suffix != ".tmp")


def newest_checkpoint(folder: Path, settings: str) -> tuple[Path, Progress] | None:
    """The newest checkpoint made with these settings.

    Raises:
        DamagedFileError: its record cannot be read.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            progress = msgspec.json.decode((path / _PROGRESS).read_bytes(), type=Progress)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DamagedFileError(f"{path}: not a checkpoint: {error}", hint=f"remove {path}") from None
        if progress.settings == settings:
            return path, progress
    return None


def load_state(path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint, on the CPU.

    Raises:
        DamagedFileError: the file is torn.
    """
    try:
        state: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFileError(f"{path}: no usable checkpoint: {first}", hint=f"remove {path}") from None
    return state


def random_state() -> dict[str, Any]:
    """State of every generator that training draws from."""
    version, numbers, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random(state: dict[str, Any]) -> None:
    """Go on drawing where `random_state` was taken."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])

"""Saving what was trained, loading it again, and comparing: done once at the start, while little is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pipeline.engine.errors import StageFailedError
from pipeline.qwen.adapter import WEIGHTS, read_weights, save_adapter
from pipeline.qwen.collate import Batch
from pipeline.qwen.group import Group
from pipeline.qwen.settings import TrainSettings

#: Largest difference of a logit that rounding alone may make.
TOLERANCE = 1e-3

_AGAIN = "reloaded"


def check_reload(
    model: Any,
    settings: TrainSettings,
    folder: Path,
    state: dict[str, torch.Tensor],
    *,
    group: Group,
    rows: Batch,
) -> float | None:
    """Save the adapter to `folder`, load it again beside the trained one, and compare answers.

    Returns:
        The largest difference of a logit; None where only the file's values were compared, as in full
        tuning or when the model is sharded.

    Raises:
        StageFailedError: what was loaded is not what was saved.
    """
    if settings.tuning != "lora":
        return None
    if group.first:
        shutil.rmtree(folder, ignore_errors=True)
        save_adapter(model, folder, state)
        _compare_file(folder, state)
    group.wait()
    difference = _compare_answers(model, folder, rows) if settings.sharing != "fsdp" else None
    group.wait()
    if group.first:
        shutil.rmtree(folder)
    if difference is not None and not difference <= TOLERANCE:
        raise StageFailedError(
            f"the saved adapter answers otherwise than the trained one: logits differ by {difference:.3g}",
            hint="this version of peft or transformers is not one xops was tested with: constraints.txt",
        )
    return difference


def _compare_file(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """Every trained matrix must be in the file, bit by bit."""
    stored = sorted(tuple(value.flatten().tolist()) for value in load_file(folder / WEIGHTS).values())
    lora = sorted(tuple(v.flatten().tolist()) for name, v in state.items() if ".lora_" in name)
    if stored != lora:
        raise StageFailedError(
            f"the saved adapter has {len(stored)} tensors, of the {len(lora)} trained ones not all are in it",
            hint="this version of peft is not one xops was tested with: constraints.txt",
        )


def _compare_answers(model: Any, folder: Path, rows: Batch) -> float:
    from peft import LoraConfig

    model.eval()
    with torch.no_grad():
        before = model(**rows.inputs, last_tokens=2, use_cache=False)
        model.add_adapter(_AGAIN, LoraConfig.from_pretrained(str(folder)))
        read_weights(model, folder, _AGAIN)
        model.eval()  # the dropout of a new adapter begins in training mode
        model.set_adapter(_AGAIN)
        after = model(**rows.inputs, last_tokens=2, use_cache=False)
        model.set_adapter("default")
        model.delete_adapter(_AGAIN)
    model.train()
    return float((before - after).abs().max())

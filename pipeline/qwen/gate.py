"""What a checkpoint must show before anything is claimed of it: `lora_safetensors_shape_check` and more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.engine.errors import DamagedFileError
from pipeline.qwen.adapter import BRIDGE, WEIGHTS


def shape_check(folder: Path) -> dict[str, Any]:
    """`adapter_shape_check.json`, keys as published: a tensor is bad when empty, not 2-D, or not finite.

    Raises:
        DamagedFileError: the file is torn.
    """
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path}: not a safetensors file: {error}", hint="train again") from None
    bad = [
        {"name": name, "shape": list(value.shape), "reason": reason}
        for name, value in tensors.items()
        if (reason := _fault(value))
    ]
    return {
        "status": "pass" if tensors and not bad else "fail",
        "adapter_file": path.name,
        "num_tensors": len(tensors),
        "num_bad_tensors": len(bad),
        "bad_tensors": bad,
        "total_bytes": sum(value.numel() * value.element_size() for value in tensors.values()),
        "shape_counts": dict(Counter(str(tuple(value.shape)) for value in tensors.values())),
        "prefixes": dict(Counter(_tower(name) for name in tensors)),
        "num_moved_tensors": sum(
            1 for name, value in tensors.items() if ".lora_B." in name and bool(value.any())
        ),
    }


def bridge_finite(folder: Path) -> bool:
    """Whether the sensor bridge, where there is one, holds only numbers."""
    path = folder / BRIDGE
    return not path.is_file() or all(bool(torch.isfinite(v).all()) for v in load_file(path).values())


def _fault(value: torch.Tensor) -> str:
    if not value.numel():
        return "empty"
    if value.dim() != 2:
        return f"{value.dim()} dimensions"
    return "" if bool(torch.isfinite(value).all()) else "not finite"


def _tower(name: str) -> str:
    rest = name.removeprefix("base_model.model.").removeprefix("thinker.")
    return (
        "audio_tower" if "audio_tower" in rest else "visual" if "visual" in rest else rest.partition(".")[0]
    )

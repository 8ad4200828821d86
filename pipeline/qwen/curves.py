"""The curves of a training as TensorBoard files, for those who look at them there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: Event -> its fields that are curves.
_CURVES = {
    "train_step": ("rank0_batch_loss", "lr", "grad_norm", "rows_per_s", "tokens_per_s", "supervised_tokens"),
    "val_end": ("val_loss",),
    "generated_eval": ("json_validity_rate", "action_accuracy", "exact_rate", "baseline_action_accuracy"),
}


def write_curves(events: Iterable[Mapping[str, Any]], folder: Path) -> int:
    """Write a TensorBoard event file into `folder`; returns how many points it has."""
    from tensorboardX import SummaryWriter

    points = 0
    with SummaryWriter(str(folder)) as writer:
        for event in events:
            for name in _CURVES.get(str(event.get("event")), ()):
                value = event.get(name)
                if isinstance(value, (int, float)):
                    step, when = int(event.get("global_step", 0)), float(event.get("timestamp", 0))
                    writer.add_scalar(f"{event['event']}/{name}", value, step, walltime=when)
                    points += 1
    return points

"""The loss: cross entropy of the answer's tokens, and of nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from pipeline.qwen.collate import IGNORED, Batch


def answer_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Sum of the cross entropy over the batch's answer tokens, float32.

    The sum, not the mean: a step's mean is over the tokens of all its batches and processes.
    """
    labels = batch.labels
    if labels is None:
        raise ValueError("a batch without answers has no loss")
    logits = model(**batch.inputs, last_tokens=labels.shape[1] + 1, use_cache=False)[:, :-1]
    return cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )

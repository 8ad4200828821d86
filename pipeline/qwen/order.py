"""The order in which rows are trained on: a function of seed, epoch and process; a resume needs no memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


def epoch_batches(
    count: int, *, batch_size: int, seed: int, epoch: int, rank: int = 0, processes: int = 1
) -> list[list[int]]:
    """Row numbers of every batch of one process in one epoch.

    All processes get equally many batches, because they step together; where rows do not divide, the
    epoch's first ones are seen again.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
    share = -(-count // processes)
    padded = (order * (share * processes // count + 1))[: share * processes]
    own = padded[rank::processes]
    return [own[at : at + batch_size] for at in range(0, len(own), batch_size)]


def steps_of(batches: Sequence[T], accumulate: int) -> list[Sequence[T]]:
    """Batches by optimizer step; the last step of an epoch may have fewer."""
    return [batches[at : at + accumulate] for at in range(0, len(batches), accumulate)]

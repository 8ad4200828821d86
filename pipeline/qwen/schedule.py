"""The learning rate as a function of the step alone, so a resume needs no state."""

from __future__ import annotations

import math

#: What is left of the rate at the end.
FINAL_SHARE = 0.1


def rate_at(step: int, total: int, *, rate: float, warmup_share: float) -> float:
    """Rate of optimizer step `step` (from 0) of `total`: a linear rise, then a cosine down to a tenth."""
    warmup = round(total * warmup_share)
    if step < warmup:
        return rate * (step + 1) / (warmup + 1)
    part = (step - warmup) / max(1, total - warmup)
    return rate * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, part))))

"""Objects and interaction sentences of each frame as counts of hashed words.

This is annotation, not measurement: a model that is to predict objects must not get it. It exists because
the published feature vectors hold it.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.data.export.features import Signal
from pipeline.data.labels import FrameLabels

CHANNELS = 128

_WORD = re.compile(r"[a-z0-9]+")


def text_signal(labels: FrameLabels) -> Signal:
    """(N, 128): words of objects and interaction, each counted at the place its hash names, unit length."""
    texts = zip(labels.objects, labels.interaction, strict=True)
    known: dict[tuple[tuple[str, ...], str], NDArray[np.float64]] = {}
    rows = []
    for names, sentence in texts:
        if (names, sentence) not in known:
            known[names, sentence] = _counts(" ".join((*names, sentence)))
        rows.append(known[names, sentence])
    return Signal(np.stack(rows) if rows else np.zeros((0, CHANNELS)))


def _counts(text: str) -> NDArray[np.float64]:
    counts = np.zeros(CHANNELS)
    for word in _WORD.findall(text.lower()):
        counts[_place(word)] += 1
    return counts / max(1.0, float(np.linalg.norm(counts)))


@cache
def _place(word: str) -> int:
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % CHANNELS

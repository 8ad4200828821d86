"""Normalisation of actions: statistics of the train split, what names them, and the way there and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.policy.kinds import TOKEN_BINS

Floats = NDArray[np.float64]


class Normalizer(Struct, frozen=True):
    """Statistics of every number of an action.

    Attributes:
        split: whose rows it was fitted on; always `train`.
        rows, steps: how many rows, and how many of their steps are no padding.
        mean, std, low, high, q01, q99: per number.
        row_ids_sha256: of the rows' ids, in order.
        sha256: of everything above.
    """

    split: str
    rows: int
    steps: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    row_ids_sha256: str
    sha256: str = ""


def fit(rows: Iterable[tuple[str, Floats]]) -> Normalizer:
    """Fit on rows of the train split.

    Args:
        rows: id and its steps that are no padding, (steps, numbers).
    """
    ids, parts = [], []
    for name, values in rows:
        ids.append(name)
        parts.append(np.asarray(values, np.float64))
    steps = np.concatenate(parts) if parts else np.zeros((0, 0))
    std = steps.std(axis=0) if len(steps) else np.zeros(0)
    made = Normalizer(
        split="train",
        rows=len(ids),
        steps=len(steps),
        mean=_told(steps.mean(axis=0)) if len(steps) else (),
        std=_told(np.where(std < 1e-8, 1.0, std)),
        low=_told(steps.min(axis=0)) if len(steps) else (),
        high=_told(steps.max(axis=0)) if len(steps) else (),
        q01=_told(np.quantile(steps, 0.01, axis=0)) if len(steps) else (),
        q99=_told(np.quantile(steps, 0.99, axis=0)) if len(steps) else (),
        row_ids_sha256=hashlib.sha256("\n".join(ids).encode()).hexdigest(),
    )
    return msgspec.structs.replace(made, sha256=_digest(made))


def normalize(values: Floats, by: Normalizer) -> Floats:
    """Numbers of mean 0 and deviation 1 over the train split."""
    found: Floats = (np.asarray(values, np.float64) - np.array(by.mean)) / np.array(by.std)
    return found


def denormalize(values: Floats, by: Normalizer) -> Floats:
    """The way back."""
    found: Floats = np.asarray(values, np.float64) * np.array(by.std) + np.array(by.mean)
    return found


def to_tokens(values: Floats, by: Normalizer) -> NDArray[np.int64]:
    """Bins between the 1st and 99th percentile of the train split; beyond them the first and last bin."""
    low, high = np.array(by.q01), np.array(by.q99)
    width = np.where(high > low, high - low, 1.0) / TOKEN_BINS
    return np.asarray(np.clip(np.floor((np.asarray(values) - low) / width), 0, TOKEN_BINS - 1), np.int64)


def from_tokens(tokens: NDArray[np.int64], by: Normalizer) -> Floats:
    """The middle of each bin."""
    low, high = np.array(by.q01), np.array(by.q99)
    width = np.where(high > low, high - low, 1.0) / TOKEN_BINS
    found: Floats = low + (tokens + 0.5) * width
    return found


def _told(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _digest(made: Normalizer) -> str:
    record: dict[str, Any] = msgspec.to_builtins(made)
    record.pop("sha256")
    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()

"""Episodes, sessions and splits: the names that keep training and testing apart.

An episode is `<session>/ep<N>` on disk and `<session>__ep<N>` in rows; `epN` alone collides between
sessions. Splits are made of whole sessions, never of episodes or windows, because episodes of one session
show the same people and rooms.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pipeline.engine.errors import UsageError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

#: The relay plan's fractions and seed for a split where no selection exists.
FRACTIONS: Mapping[Split, float] = {"train": 0.75, "val": 0.125, "test": 0.125}
SEED = 7


def episode_id(path: str) -> str:
    """`<session>__ep<N>` of `<session>/ep<N>`."""
    return path.replace("/", "__")


def episode_path(identifier: str) -> str:
    """`<session>/ep<N>` of `<session>__ep<N>`; an id without a session (the sample) is its own path."""
    session, separator, name = identifier.rpartition("__")
    return f"{session}/{name}" if separator else identifier


def session_of(episode: str) -> str:
    """The session of an episode, given as id or path; an episode without one is its own session."""
    return episode_path(episode).partition("/")[0]


def split_hash(splits: Mapping[str, str]) -> str:
    """Twelve hex digits that change exactly when the split of some episode (by path) changes."""
    lines = sorted(f"{path}\t{split}\n" for path, split in splits.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def random_split(
    episodes: Sequence[str], fractions: Mapping[Split, float] = FRACTIONS, seed: int = SEED
) -> dict[str, Split]:
    """A new split of `episodes` (ids or paths) by whole sessions, reproducible from `seed`.

    With one episode per session this is the original's rule to the episode: shuffle with
    `random.Random(seed)`, round the fractions, keep at least one session for val and test from three on.

    Raises:
        UsageError: the fractions are negative or all zero, or an episode appears twice.
    """
    total = sum(fractions.values())
    if total <= 0 or min(fractions.values()) < 0:
        raise UsageError(f"split fractions {dict(fractions)} are not fractions of anything")
    if len(set(episodes)) != len(episodes):
        raise UsageError("an episode appears twice; ids must be qualified by their session")
    members = _by_session(episodes)
    sessions = list(members)
    random.Random(seed).shuffle(sessions)
    train, val = _counts(len(sessions), fractions["train"] / total, fractions["val"] / total)
    found: dict[str, Split] = {}
    for position, session in enumerate(sessions):
        split: Split = "train" if position < train else "val" if position < train + val else "test"
        found.update((episode, split) for episode in members[session])
    return {episode: found[episode] for episode in episodes}


def _by_session(episodes: Iterable[str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = defaultdict(list)
    for episode in episodes:
        members[session_of(episode)].append(episode)
    return members


def _counts(number: int, train: float, val: float) -> tuple[int, int]:
    """Sessions for train and val; the rest is test."""
    if number < 3:
        return min(number, 1), 0
    for_train = max(1, min(round(number * train), number - 2))
    return for_train, max(1, min(round(number * val), number - for_train - 1))

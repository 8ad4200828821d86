"""The leakage gate: nothing that training saw may be in what is measured.

Episodes, sessions and media files (by path, and by content where a hash is known) must each belong to one
split only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from pipeline.data.splits import SPLITS, session_of
from pipeline.engine.gates import Check

Kind = Literal["episode", "session", "file", "content"]

#: What each kind means in a sentence of the gate.
_PLURAL: dict[Kind, str] = {
    "episode": "episodes",
    "session": "sessions",
    "file": "media files",
    "content": "file contents (sha256)",
}

#: Most values listed as evidence; counts are always complete.
SHOWN = 20


class Leak(Struct, frozen=True):
    """One value that belongs to more than one split."""

    kind: Kind
    value: str
    splits: tuple[str, ...]


class LeakFinder:
    """Collects what each split uses.

    Values are remembered by their 64-bit hash, so that a million media paths fit into 100 MB; a false alarm
    needs two values with the same hash (one chance in 10^7 for a million) and would name the value.
    """

    def __init__(self) -> None:
        self._splits: list[str] = []
        self._seen: dict[Kind, dict[int, int]] = {kind: {} for kind in _PLURAL}
        self._leaks: dict[tuple[Kind, str], int] = {}

    def add(
        self, episode: str, split: str, *, files: Iterable[str] = (), contents: Iterable[str] = ()
    ) -> None:
        """Note that `split` uses an episode.

        Args:
            episode: id or path, qualified by its session.
            split: the split's name.
            files: media paths, each relative to a root that all rows share.
            contents: sha256 of media, where known.
        """
        if split not in self._splits:
            self._splits.append(split)
        bit = 1 << self._splits.index(split)
        self._add("episode", episode, bit)
        self._add("session", session_of(episode), bit)
        for file in files:
            self._add("file", file, bit)
        for content in contents:
            self._add("content", content, bit)

    def _add(self, kind: Kind, value: str, bit: int) -> None:
        seen = self._seen[kind]
        key = hash(value)
        splits = seen.get(key, 0) | bit
        seen[key] = splits
        if splits != bit:
            self._leaks[kind, value] = splits

    def leaks(self) -> tuple[Leak, ...]:
        """Every value with more than one split, sorted."""
        return tuple(
            Leak(kind, value, tuple(sorted(s for i, s in enumerate(self._splits) if splits & 1 << i)))
            for (kind, value), splits in sorted(self._leaks.items())
        )

    def checks(self) -> list[Check]:
        """One gate check per kind that was looked at, and one that all splits are known by name."""
        leaks = self.leaks()
        checks = [
            self._check(kind, [leak for leak in leaks if leak.kind == kind])
            for kind, seen in self._seen.items()
            if seen or kind in ("episode", "session")
        ]
        unknown = sorted(set(self._splits) - set(SPLITS))
        checks.append(
            Check(
                name="splits_known",
                ok=not unknown,
                detail=f"{len(unknown)} splits other than {', '.join(SPLITS)}",
                evidence={"unknown": unknown[:SHOWN]},
            )
        )
        return checks

    def _check(self, kind: Kind, leaks: list[Leak]) -> Check:
        seen = self._seen[kind]
        return Check(
            name=f"no_{kind}_in_two_splits",
            ok=not leaks,
            detail=f"{len(leaks)} of {len(seen)} {_PLURAL[kind]} are in more than one split",
            evidence={
                "distinct": len(seen),
                "leaks": [{"value": leak.value, "splits": list(leak.splits)} for leak in leaks[:SHOWN]],
            },
        )

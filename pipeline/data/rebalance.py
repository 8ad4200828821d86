"""Swaps that make the splits more alike, and a selection with swaps applied.

A swap exchanges the splits of two selected episodes of one size band. So every split keeps its size in
every band, every session stays in one split, and no byte has to be staged again. What a swap cannot mend
(a category that dominates all splits) needs other episodes: `xops relay replace`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.audit.balance import BalanceLimits, Labelled, count, divergence
from pipeline.engine.errors import UsageError


class Swap(Struct, frozen=True, kw_only=True):
    """One proposed exchange.

    Attributes:
        first, second: episodes; `first_split` and `second_split` are where they are now.
        band: the size band of both.
        first_category, second_category: what they show.
        before, after: sum of all splits' divergences in bits, without and with this swap, after the
            swaps proposed before it.
    """

    first: str
    first_split: str
    first_category: str
    second: str
    second_split: str
    second_category: str
    band: str
    before: float
    after: float

    def __str__(self) -> str:
        return (
            f"{self.first} ({self.first_category}) {self.first_split} <-> {self.second_split} "
            f"{self.second} ({self.second_category}), band {self.band}"
        )


def propose_swaps(
    episodes: Sequence[Labelled], limits: BalanceLimits, *, most: int = 8, keep: Iterable[str] = ()
) -> list[Swap]:
    """The swaps that help most, one after the other, until the limits hold or none helps.

    Args:
        episodes: all selected episodes with their categories.
        limits: when to stop.
        most: most swaps to propose.
        keep: splits that must not change, such as a test split that has been used.
    """
    now = list(episodes)
    kept = set(keep)
    swaps: list[Swap] = []
    while len(swaps) < most and not _holds(count(now), limits):
        settled = {path for swap in swaps for path in (swap.first, swap.second)}
        free = [e for e in now if e.split not in kept and e.path not in settled]
        swap = _best(now, free, limits)
        if swap is None:
            break
        swaps.append(swap)
        now = moved(now, swap)
    return swaps


def moved(episodes: Sequence[Labelled], swap: Swap) -> list[Labelled]:
    """`episodes` with the splits of the swap's two exchanged."""
    splits = {swap.first: swap.second_split, swap.second: swap.first_split}
    return [
        msgspec.structs.replace(episode, split=splits.get(episode.path, episode.split))
        for episode in episodes
    ]


def _best(episodes: Sequence[Labelled], free: Sequence[Labelled], limits: BalanceLimits) -> Swap | None:
    """The swap of two `free` episodes that makes the splits most alike; ties go to the first by name."""
    counts = count(episodes)
    total = sum(counts.values(), Counter[str]())
    # Episodes of one split, band and category are interchangeable: one of each stands for all.
    kinds = {(e.split, e.band, e.category): e for e in sorted(free, key=lambda e: e.path, reverse=True)}
    start = _cost(counts, total, limits)
    best: tuple[float, Labelled, Labelled] | None = None
    for one in kinds.values():
        for other in kinds.values():
            if one.split < other.split and one.band == other.band and one.category != other.category:
                cost = _cost(_exchanged(counts, one, other), total, limits)
                if cost < start - 1e-9 and (
                    best is None or (cost, one.path, other.path) < (best[0], best[1].path, best[2].path)
                ):
                    best = (cost, one, other)
    if best is None:
        return None
    _, one, other = best
    return Swap(
        first=one.path,
        first_split=one.split,
        first_category=one.category,
        second=other.path,
        second_split=other.split,
        second_category=other.category,
        band=one.band,
        before=round(_divergences(counts, total), 4),
        after=round(_divergences(_exchanged(counts, one, other), total), 4),
    )


def _exchanged(counts: Mapping[str, Counter[str]], one: Labelled, other: Labelled) -> dict[str, Counter[str]]:
    changed = {split: Counter(found) for split, found in counts.items()}
    changed[one.split][one.category] -= 1
    changed[one.split][other.category] += 1
    changed[other.split][other.category] -= 1
    changed[other.split][one.category] += 1
    return {split: +found for split, found in changed.items()}


def _divergences(counts: Mapping[str, Counter[str]], total: Mapping[str, int]) -> float:
    return sum(divergence(found, total) for found in counts.values())


def _cost(counts: Mapping[str, Counter[str]], total: Mapping[str, int], limits: BalanceLimits) -> float:
    """Divergence, and again whatever is beyond a limit, so that breaches are mended first."""
    cost = 0.0
    for found in counts.values():
        bits = divergence(found, total)
        share = max(found.values()) / found.total()
        cost += bits + 10 * (max(0.0, bits - limits.max_divergence) + max(0.0, share - limits.max_share))
    return cost


def _holds(counts: Mapping[str, Counter[str]], limits: BalanceLimits) -> bool:
    total = sum(counts.values(), Counter[str]())
    return all(
        divergence(found, total) <= limits.max_divergence
        and max(found.values()) / found.total() <= limits.max_share
        for found in counts.values()
    )


def apply_swaps(selection: Mapping[str, Any], swaps: Sequence[Swap], *, reason: str) -> dict[str, Any]:
    """A new version of a selection (as JSON) with the swaps made.

    Only `split` of the swapped episodes changes; ranks, files and batches stay. `version` rises by one, and
    `replacements` says, split by split, who took whose place.

    Raises:
        UsageError: no swap or no reason is given, an episode is not selected, its split or band is not what
            the swap says (the selection changed since), or an episode is swapped twice.
    """
    if not swaps or not reason.strip():
        raise UsageError("swaps and a reason for them are needed", hint="xops data swap --reason TEXT")
    episodes = {entry["episode_path"]: dict(entry) for entry in selection["selected_episodes"]}
    version = int(selection.get("version", 1)) + 1
    at_utc = datetime.now(UTC).isoformat(timespec="seconds")
    changes = []
    touched: set[str] = set()
    for swap in swaps:
        _refuse_stale(swap, episodes, touched)
        touched |= {swap.first, swap.second}
        episodes[swap.first]["split"], episodes[swap.second]["split"] = swap.second_split, swap.first_split
        for split, removed, added in (
            (swap.first_split, swap.first, swap.second),
            (swap.second_split, swap.second, swap.first),
        ):
            text = f"splits exchanged, {split}: {reason}"
            changes.append(
                {"version": version, "removed": removed, "added": added, "reason": text, "at_utc": at_utc}
            )
    return {
        **selection,
        "selected_episodes": [episodes[entry["episode_path"]] for entry in selection["selected_episodes"]],
        "version": version,
        "replacements": [*selection.get("replacements", ()), *changes],
    }


def _refuse_stale(swap: Swap, episodes: Mapping[str, Mapping[str, Any]], touched: set[str]) -> None:
    for path, split in ((swap.first, swap.first_split), (swap.second, swap.second_split)):
        entry = episodes.get(path)
        if entry is None:
            raise UsageError(f"episode {path!r} is not in the selection")
        if path in touched:
            raise UsageError(f"episode {path!r} is swapped twice", hint="apply one swap at a time")
        if entry["split"] != split or entry["size_band"] != swap.band:
            raise UsageError(
                f"episode {path!r} is {entry['split']} in band {entry['size_band']}, the swap expects "
                f"{split} in {swap.band}",
                hint="run the audit again; the selection has changed since",
            )

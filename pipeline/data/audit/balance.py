"""How evenly the splits show each category, in numbers a gate can hold.

Divergence is the Jensen-Shannon divergence (bits, 0 to 1) of a split's categories from those of all
episodes. A small split diverges by chance alone: `chance` is what 95 of 100 random assignments stay below
that keep every split's size within each size band, so that a measured value can be judged.

Lin, J. (1991), "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37(1).
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pipeline.data.splits import SPLITS
from pipeline.data.taxonomy import UNCATEGORIZED, UNPARSED
from pipeline.engine.gates import Check

#: Random assignments behind `chance`, and the seed that makes them repeatable.
DRAWS, SEED = 400, 7


class BalanceLimits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts as balanced.

    Attributes:
        max_share: largest share of a split that one category may have.
        max_divergence: largest divergence of a split from all episodes, bits.
        max_unknown_share: largest share of episodes without category (uncategorized or unparsed).
    """

    max_share: float = 0.6
    max_divergence: float = 0.15
    max_unknown_share: float = 0.1


class Labelled(Struct, frozen=True):
    """An episode as balance sees it."""

    path: str
    split: str
    band: str
    category: str


class SplitBalance(Struct, frozen=True, kw_only=True):
    """One split against all episodes.

    Attributes:
        counts: episodes per category, most first.
        leading, share: its largest category and that one's share.
        divergence, chance: bits; see the module.
    """

    episodes: int
    counts: dict[str, int]
    leading: str
    share: float
    divergence: float
    chance: float


class Balance(Struct, frozen=True, kw_only=True):
    """All splits, and the episodes nobody could place."""

    counts: dict[str, int]
    splits: dict[str, SplitBalance]
    uncategorized: tuple[str, ...]
    unparsed: tuple[str, ...]


def measure(episodes: Sequence[Labelled]) -> Balance:
    """The balance of `episodes`; train first."""
    counts = count(episodes)
    total = Counter(episode.category for episode in episodes)
    chance = _chance(episodes, total)
    splits = {}
    for split, found in counts.items():
        (leading, most), *_ = found.most_common(1)
        splits[split] = SplitBalance(
            episodes=found.total(),
            counts=dict(found.most_common()),
            leading=leading,
            share=round(most / found.total(), 4),
            divergence=round(divergence(found, total), 4),
            chance=round(chance[split], 4),
        )
    return Balance(
        counts=dict(total.most_common()),
        splits=splits,
        uncategorized=tuple(e.path for e in episodes if e.category == UNCATEGORIZED),
        unparsed=tuple(e.path for e in episodes if e.category == UNPARSED),
    )


def count(episodes: Sequence[Labelled]) -> dict[str, Counter[str]]:
    """Episodes per category, by split: train, val, test, then others."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for episode in episodes:
        counts[episode.split][episode.category] += 1
    order: dict[str, int] = {split: position for position, split in enumerate(SPLITS)}
    return dict(sorted(counts.items(), key=lambda item: order.get(item[0], len(order))))


def divergence(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of two counts, bits: 0 for equal shares, 1 for nothing in common."""
    n, m = sum(one.values()), sum(other.values())
    if not n or not m:
        return 0.0
    bits = 0.0
    for key in {*one, *other}:
        p, q = one.get(key, 0) / n, other.get(key, 0) / m
        middle = (p + q) / 2
        bits += sum(x * math.log2(x / middle) / 2 for x in (p, q) if x)
    return max(0.0, bits)


def _chance(episodes: Sequence[Labelled], total: Mapping[str, int]) -> dict[str, float]:
    """The 95th percentile of each split's divergence when splits are dealt at random within bands."""
    shuffle = random.Random(SEED).shuffle
    bands: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for episode in episodes:
        splits, categories = bands[episode.band]
        splits.append(episode.split)
        categories.append(episode.category)
    drawn: dict[str, list[float]] = defaultdict(list)
    for _ in range(DRAWS):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for splits, categories in bands.values():
            shuffle(splits)
            for split, category in zip(splits, categories, strict=True):
                counts[split][category] += 1
        for split, found in counts.items():
            drawn[split].append(divergence(found, total))
    return {split: sorted(values)[int(0.95 * (DRAWS - 1))] for split, values in drawn.items()}


def balance_checks(balance: Balance, limits: BalanceLimits) -> list[Check]:
    """The gate's measured half; the other half is a person who read the report."""
    over = {s: b for s, b in balance.splits.items() if b.share > limits.max_share}
    far = {s: b for s, b in balance.splits.items() if b.divergence > limits.max_divergence}
    unknown = len(balance.uncategorized) + len(balance.unparsed)
    total = sum(balance.counts.values())
    return [
        Check(
            name="no_category_dominates",
            ok=not over,
            detail="; ".join(f"{s}: {b.share:.0%} {b.leading}" for s, b in balance.splits.items())
            + f" (at most {limits.max_share:.0%})",
            evidence={"splits": {s: {"category": b.leading, "share": b.share} for s, b in over.items()}},
        ),
        Check(
            name="splits_alike",
            ok=not far,
            detail="; ".join(
                f"{s}: {b.divergence:.3f} bits (chance {b.chance:.3f})" for s, b in balance.splits.items()
            )
            + f"; at most {limits.max_divergence:g}",
            evidence={s: {"divergence": b.divergence, "chance": b.chance} for s, b in balance.splits.items()},
        ),
        Check(
            name="content_known",
            ok=total > 0 and unknown <= limits.max_unknown_share * total,
            detail=f"{len(balance.uncategorized)} uncategorized and {len(balance.unparsed)} unparsed of "
            f"{total} episodes (at most {limits.max_unknown_share:.0%})",
            evidence={"uncategorized": list(balance.uncategorized), "unparsed": list(balance.unparsed)},
        ),
    ]

"""The order of rows: the original's rule, so that its datasets and ours can be laid side by side.

Within each split, in the manifest's order and skipped episodes included, episode i belongs to shard i mod n.
Rows go by shard, in a shard by train, val, test, then by episode and window. It says nothing about who does
the work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline.data.splits import SPLITS

#: Shards of the published datasets.
SHARDS = 8


def shard_order(episodes: Iterable[tuple[str, str]], shards: int = SHARDS) -> dict[str, int]:
    """Shard of each episode, in the order of the dataset.

    Args:
        episodes: id and split, in the manifest's order.
        shards: their number.
    """
    counts = Counter[str]()
    placed: list[tuple[int, int, str]] = []
    for episode, split in episodes:
        place = SPLITS.index(split) if split in SPLITS else len(SPLITS)
        placed.append((counts[split] % shards, place, episode))
        counts[split] += 1
    return {episode: shard for shard, _, episode in sorted(placed, key=lambda entry: entry[:2])}

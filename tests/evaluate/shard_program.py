"""One shard as a process that can be killed: ROOT WORK K N SECONDS."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from by_rule import Rule, shard_of

if __name__ == "__main__":
    root, work, k, n, seconds = sys.argv[1:]
    shard = shard_of(
        Path(root), Path(work), int(k), int(n), Rule(float(seconds)), lambda e, **f: None, batch_size=2
    )
    shard.run()

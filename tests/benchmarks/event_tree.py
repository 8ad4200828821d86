"""A tree of event logs in the shapes of the published ones: 200 files, 1,000,000 events, 256 MB by default.

    python tests/benchmarks/event_tree.py DIRECTORY [FILES] [EVENTS]

File sizes follow a Pareto distribution, as real runs do: a few long trainings, many short evaluations.
The same arguments give the same bytes.
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = {"train": 0.55, "eval": 0.25, "transfer": 0.12, "fd_train": 0.08}


def make_tree(root: Path, files: int = 200, events: int = 1_000_000, seed: int = 7) -> int:
    """Write the tree below `root`; returns its size in bytes."""
    pick = random.Random(seed)
    size = 0
    for number, count in enumerate(_counts(pick, files, events)):
        kind = pick.choices(list(KINDS), list(KINDS.values()))[0]
        run_id = f"xperience10m_qwen3_omni_128ep_run{number:03d}_{kind}_full8gpu_lora"
        path = root / f"run{number:03d}" / "progress.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _rows(pick, kind, run_id, count, ends=number % 3 > 0)
        size += path.write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode())
    return size


def _counts(pick: random.Random, files: int, events: int) -> list[int]:
    weights = [pick.paretovariate(1.1) for _ in range(files)]
    counts = [max(min(50, events // files), int(events * weight / sum(weights))) for weight in weights]
    longest = counts.index(max(counts))
    counts[longest] += events - sum(counts)
    return counts


def _rows(pick: random.Random, kind: str, run_id: str, count: int, *, ends: bool) -> Iterator[dict[str, Any]]:
    now = 1780647366.8
    yield {"event": "setup_done", "run_id": run_id, "rank0_samples_per_epoch": count * 10, "timestamp": now}
    episode = ""
    for i in range(1, count - ends):
        now += pick.random() * 5
        if i % 500 == 1:
            episode = f"{uuid.UUID(int=pick.getrandbits(128))}__ep{pick.randint(1, 9)}"
        yield {**_row(pick, kind, episode, i, count), "timestamp": now}
    if ends:
        yield {"event": "complete", "run_id": run_id, "timestamp": now}


def _row(pick: random.Random, kind: str, episode: str, i: int, count: int) -> dict[str, Any]:
    if kind == "train":
        loss = 3.0 * 0.9999**i + pick.random() * 0.01
        steps = {
            "epoch": 1,
            "global_step": i * 10,
            "rank0_seen": i * 10,
            "rank0_samples_per_epoch": count * 10,
        }
        padding = "x" * 60  # brings the mean row to the 256 bytes of real ones with their longer fields
        return {"event": "train_step", **steps, "rank0_batch_loss": loss, "note": padding}
    if kind == "eval":
        progress = {"sample_index": i, "num_eval_samples": count, "completed_samples": i}
        where = {"sample_id": f"{episode}:qa:{i % 500}", "episode_id": episode}
        return {
            "event": "sample_done",
            **progress,
            **where,
            "seconds": round(8 + pick.random() * 2, 3),
        }
    if kind == "transfer":
        where = {"batch": i // 4000, "file": f"{episode}/stereo_left.mp4", "chunk": i % 900}
        return {
            "event": "chunk_done",
            **where,
            "bytes": 8388608,
            "seconds": round(pick.random(), 4),
        }
    shapes = {
        "action_latents_shape": [8, 64],
        "vision_latents_shape": [1, 48, 3, 10, 20],
        "vision_loss_tokens": 100,
    }
    where = {"episode_id": episode, "row_id": f"{episode}:qa:{i % 500}", "height": 192, "width": 320}
    return {
        "event": "train_step",
        **shapes,
        **where,
        "rank0_loss": 6 + pick.random(),
        "step": i,
    }


if __name__ == "__main__":
    directory, *numbers = sys.argv[1:]
    print(make_tree(Path(directory), *map(int, numbers)), "bytes")

"""A manifest of generated episodes, and the stage `export` run on it as the dispatcher runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.data.manifest.build import Chosen, Windowing, make_episode
from pipeline.data.manifest.describe import DescribeTask, describe_episode
from pipeline.data.manifest.record import FILE, Manifest, ManifestEpisode
from pipeline.data.synth.episode import EpisodeSpec, write_episode
from pipeline.data.synth.faults import Fault
from pipeline.engine.context import StageContext, loose_context
from pipeline.stages import export

SPLITS = ("train", "train", "val", "test")


def session(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def write_world(root: Path, faults: Mapping[int, Sequence[Fault]] = {}, *, episodes: int = 4) -> Path:
    """Sessions of one small episode each, and their manifest in `root`; returns `root`."""
    entries = []
    for number in range(episodes):
        path = f"{session(number)}/ep1"
        spec = EpisodeSpec(
            frames=120, size=32, depth=8, task=0, seed=number, faults=tuple(faults.get(number, ()))
        )
        write_episode(root / path, spec)
        entries.append(entry(root, path, SPLITS[number % len(SPLITS)]))
    write_manifest(root, entries)
    return root


def entry(root: Path, path: str, split: str) -> ManifestEpisode:
    described = describe_episode(DescribeTask(path, str(root / path), Windowing()))
    return make_episode(Chosen(path=path, split=split), root / path, described)


def write_manifest(root: Path, entries: Sequence[ManifestEpisode]) -> None:
    manifest = Manifest(summary={"data_roots": [str(root)]}, episodes=tuple(entries))
    (root / FILE).write_bytes(msgspec.json.encode(manifest))


def run_export(
    root: Path, folder: Path, *, shard: tuple[int, int] | None = None, **params: Any
) -> tuple[StageContext, list[dict[str, Any]]]:
    """Run the stage; a `folder` that was used before is a further attempt with the same work."""
    events: list[dict[str, Any]] = []
    made = msgspec.convert(
        {"workers": 1, "max_null_share": 1, "max_skipped_share": 1, **params}, export.Params
    )
    context = loose_context(
        folder / f"attempt{len(list(folder.glob('attempt*')))}",
        made,
        upstreams={"manifest": root},
        emit=lambda event, **fields: events.append({"event": event, **fields}),
    )
    context.work = folder / "work"
    context.work.mkdir(parents=True, exist_ok=True)
    context.shard = shard
    export.run(context)
    return context, events


def failed(context: StageContext) -> set[str]:
    return {check.name for check in context.checks if not check.ok}


def rows_of(context: StageContext) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (context.out / "dataset.jsonl").read_bytes().splitlines()]


if __name__ == "__main__":  # a process that a test can kill
    run_export(Path(sys.argv[1]), Path(sys.argv[2]))

"""Stage `manifest`: every usable episode with its split, sizes, modalities and label counts.

The split is the selection's. A new random split (`split = "random"`) is another act: it makes results that
cannot be compared, says so in the manifest, and fails the gate's check of the split when there is a
selection.

Publishes `episode_manifest.json` (the published keys).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from pipeline.engine.context import StageContext
from pipeline.engine.files import read_json
from pipeline.stages.discover import EPISODES_FILE, read_selected

if TYPE_CHECKING:
    from pipeline.data.manifest.build import Chosen, Description, Windowing
    from pipeline.data.manifest.record import Manifest, ManifestEpisode, Missing
    from pipeline.hub.selection import Selection

Share = Annotated[float, Meta(ge=0, le=1)]


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is listed, and how labels are counted.

    Attributes:
        split: take the selection's, or make a new one at random by sessions.
        selection: selection file for a run without a `select` stage.
        include_splits: splits to list; episodes of the others stay sealed and are only counted.
        require_all_videos: leave out episodes that lack a camera.
        window_frames, stride_frames, min_label_fraction: how windows are cut for the label counts.
        train_fraction, val_fraction, test_fraction, split_seed: of a random split.
        max_unlabelled_share: share of episodes that may have no labelled window.
        min_episodes: labelled episodes that every listed split needs.
        workers: processes; 0 takes one per core.
    """

    split: Literal["selection", "random"] = "selection"
    selection: str = ""
    include_splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
    require_all_videos: bool = True
    window_frames: Annotated[int, Meta(ge=1)] = 20
    stride_frames: Annotated[int, Meta(ge=1)] = 20
    min_label_fraction: Share = 0.6
    train_fraction: Share = 0.75
    val_fraction: Share = 0.125
    test_fraction: Share = 0.125
    split_seed: int = 7
    max_unlabelled_share: Share = 0.1
    min_episodes: Annotated[int, Meta(ge=0)] = 1
    workers: Annotated[int, Meta(ge=0, le=256)] = 0


def run(context: StageContext) -> None:
    """Describe, join with the selection, publish, and ask the gate's questions."""
    from pipeline.data.manifest.checks import manifest_checks
    from pipeline.data.manifest.record import FILE
    from pipeline.engine.files import publish_bytes

    found = read_json(context.upstream("discover") / EPISODES_FILE)
    selection = read_selected(context, context.params.selection)
    chosen = _chosen(selection, found)
    described, skipped = _describe(context, chosen, found)
    manifest = _make(
        context, selection, chosen, described=described, skipped=skipped, roots=found["data_roots"]
    )
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    publish_bytes(context.out / FILE, data + b"\n")
    checks = manifest_checks(
        manifest,
        chosen if selection is not None else (),
        contents=_contents(selection),
        max_unlabelled_share=context.params.max_unlabelled_share,
        min_episodes=context.params.min_episodes,
    )
    for check in checks:
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)
    context.emit(
        "manifested",
        selected=len(chosen),
        episodes=len(manifest.episodes),
        left_out=len(manifest.missing_or_incomplete),
        labelled_windows=sum(entry.labelled_windows for entry in manifest.episodes),
        bytes=manifest.summary["train_minimal_bytes"],
        split=context.params.split,
    )


def _chosen(selection: Selection | None, found: dict[str, Any]) -> list[Chosen]:
    from pipeline.data.manifest.build import Chosen

    if selection is None:
        return [Chosen(path=entry["path"], split=entry["split"]) for entry in found["episodes"]]
    return [
        Chosen(
            path=episode.path, split=episode.split, rank=episode.rank, score=episode.score, band=episode.band
        )
        for episode in selection.episodes
    ]


def _describe(
    context: StageContext, chosen: Sequence[Chosen], found: dict[str, Any]
) -> tuple[dict[str, ManifestEpisode], dict[str, Missing]]:
    """Manifest entries of what is usable; the reason for everything else, unreadable captions included."""
    from pipeline.data.manifest.build import make_episode
    from pipeline.data.manifest.describe import DescribeTask, describe_all
    from pipeline.data.manifest.record import Missing

    staged = {entry["path"]: entry for entry in found["episodes"]}
    skipped: dict[str, Missing] = {}
    tasks = []
    for episode in chosen:
        entry = staged.get(episode.path)
        reason = found["skipped"].get(episode.path) if entry else "discovery did not look for it"
        if entry is None or reason:
            missing = tuple(entry["missing"]) if entry else ()
            skipped[episode.path] = Missing(episode.path, episode.split, missing, reason or "")
        else:
            tasks.append(DescribeTask(episode.path, entry["folder"], _windowing(context)))
    said = describe_all(
        tasks,
        context.work / "descriptions",
        emit=context.emit,
        workers=context.params.workers,
        check_cancelled=context.check_cancelled,
    )
    described = {}
    for episode in chosen:
        description: Description | None = said.get(episode.path)
        if description is None:
            continue
        if description.problem:
            skipped[episode.path] = Missing(episode.path, episode.split, (), description.problem)
        else:
            folder = Path(staged[episode.path]["folder"])
            described[episode.path] = make_episode(episode, folder, description)
    return described, skipped


def _windowing(context: StageContext) -> Windowing:
    from pipeline.data.manifest.build import Windowing

    params = context.params
    return Windowing(
        window_frames=params.window_frames,
        stride_frames=params.stride_frames,
        min_label_fraction=params.min_label_fraction,
    )


def _make(
    context: StageContext,
    selection: Selection | None,
    chosen: Sequence[Chosen],
    *,
    described: dict[str, ManifestEpisode],
    skipped: dict[str, Missing],
    roots: Sequence[str],
) -> Manifest:
    from pipeline.data.manifest.build import random_manifest, selection_manifest
    from pipeline.engine.errors import UsageError

    params, windowing = context.params, _windowing(context)
    if params.split == "random":
        context.emit("split_made_anew", seed=params.split_seed, warning="not the selection's split")
        return random_manifest(
            list(described.values()),
            data_roots=roots,
            windowing=windowing,
            fractions={
                "train": params.train_fraction,
                "val": params.val_fraction,
                "test": params.test_fraction,
            },
            seed=params.split_seed,
            skipped=skipped.values(),
        )
    if selection is None:
        raise UsageError(
            "there is no selection to take the split from",
            hint='set manifest.selection, or ask for a new split: manifest.split = "random"',
        )
    return selection_manifest(
        chosen,
        described,
        skipped,
        selection=context.params.selection or str(context.upstream("select")),
        data_roots=roots,
        windowing=windowing,
        require_all_videos=params.require_all_videos,
        include=params.include_splits,
    )


def _contents(selection: Selection | None) -> dict[str, list[str]]:
    """The sha256 of every selected file, where the selection knows them."""
    episodes = selection.episodes if selection is not None else ()
    return {episode.path: [file.sha256 for file in episode.files if file.sha256] for episode in episodes}

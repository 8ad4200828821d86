"""Stage `export`: the manifest's episodes as windows with clip, sound, sensor features and answers.

Publishes `dataset.jsonl`, `label_vocabulary.json`, `dataset_manifest.json`, `episodes.jsonl` (a record per
episode with the hash of every file), `media/` and `sensor_features/`. Finished episodes survive in the
attempt's work folder; a later attempt takes them from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pipeline.data.export.settings import Scale
from pipeline.engine.context import StageContext


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rows show, and how much may be missing.

    Attributes:
        scales: kinds of windows; the published multi-scale export has 20/10/120, 40/20/160 and 80/40/240.
        max_windows: windows per episode and scale, round-robin over actions; 0 for all.
        min_share: share of its labelled frames that a window's action needs.
        resolver: how captions are read.
        video_frames: pictures of a clip, evenly over the context; the published ones have 16 or 32.
        layout: of the feature vectors: 8,546, 4,430 or 4,262 numbers.
        depth_features: fill the depth block; it reads 328 kB per frame.
        annotation_text: fill the text block, which tells a model what it is to predict.
        render_media: write clips and sound.
        parity: rows with the original's keys only, label options written out in each.
        order_shards: shards of the original's row order.
        max_null_share: share of rows that may lack a clip, and of those that may lack sound.
        max_skipped_share: share of episodes that may have no row.
        workers: processes; 0 takes one per core.
        threads: of each decoder.
    """

    scales: Annotated[tuple[Scale, ...], Meta(min_length=1)] = (Scale(),)
    max_windows: Annotated[int, Meta(ge=0)] = 32
    min_share: Annotated[float, Meta(gt=0, le=1)] = 0.6
    resolver: Literal["default", "current", "older"] = "default"
    video_frames: Annotated[int, Meta(ge=1, le=256)] = 16
    layout: Literal["full", "no_video", "no_video_no_audio"] = "no_video"
    depth_features: bool = True
    annotation_text: bool = False
    render_media: bool = True
    parity: bool = False
    order_shards: Annotated[int, Meta(ge=1, le=1024)] = 8
    max_null_share: Annotated[float, Meta(ge=0, le=1)] = 0.02
    max_skipped_share: Annotated[float, Meta(ge=0, le=1)] = 0.1
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    threads: Annotated[int, Meta(ge=1, le=64)] = 1


def run(context: StageContext) -> None:
    """Export what is missing, put the dataset together, and ask the gate's questions."""
    import msgspec

    from pipeline.data.export.checks import export_checks
    from pipeline.data.export.dataset import assemble
    from pipeline.data.export.order import shard_order
    from pipeline.data.export.run import export_all, make_tasks, settings_from
    from pipeline.data.manifest.record import FILE, read_manifest

    params = context.params
    manifest = read_manifest(context.upstream("manifest") / FILE)
    settings = settings_from(params)
    roots = [Path(root) for root in manifest.summary.get("data_roots", [])] or [context.workspace.root]
    tasks, refused = make_tasks(manifest.episodes, roots, context.work, settings, threads=params.threads)
    if context.shard is not None:
        stride, strides = context.shard
        tasks, refused = tasks[stride::strides], refused[stride::strides]
    parts, failed = export_all(
        tasks, emit=context.emit, workers=params.workers, check_cancelled=context.check_cancelled
    )
    dataset = assemble(
        parts,
        context.out,
        settings=settings,
        shards=shard_order([(e.episode_id, e.split) for e in manifest.episodes], params.order_shards),
        run_id=context.run.run_id,
        parity=params.parity,
        data_roots=[str(root) for root in roots],
        refused=msgspec.to_builtins(refused),
        check_cancelled=context.check_cancelled,
    )
    checks = export_checks(
        dataset,
        context.out,
        listed=len(tasks) + len(refused),
        failed=failed,
        max_null_share=params.max_null_share if params.render_media else 1.0,
        max_skipped_share=params.max_skipped_share,
    )
    for check in checks:
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)
    context.emit(
        "exported",
        rows=len(dataset.drafts),
        episodes=dataset.manifest["num_episodes"],
        skipped=len(dataset.manifest["skipped_episodes"]),
        splits=dataset.manifest["split_counts"],
        null_media=dataset.manifest["null_media"],
        bytes=sum(record.bytes for record in dataset.records),
    )

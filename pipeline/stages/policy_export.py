"""Stage `policy_export`: the index as observations and actions of one declared kind.

Publishes `policy.jsonl`, `arrays/`, `action_space.json`, `normalization_stats.json`, `retargeting_audit.json`
and `policy_manifest.json`; with `lerobot` also `lerobot/`, a LeRobotDataset v3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from pipeline.data.policy.kinds import Kind
from pipeline.engine.context import StageContext


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an action is.

    Attributes:
        kind: of the target.
        steps: frames of a future target, at 20 per second.
        max_skipped_share: share of records that may have no target.
        lerobot: also write a LeRobotDataset v3; needs the extra `lerobot`.
    """

    kind: Kind = "hand_trajectory"
    steps: Annotated[int, Meta(ge=1, le=1000)] = 16
    max_skipped_share: Annotated[float, Meta(ge=0, le=1)] = 0.25
    lerobot: bool = False


def run(context: StageContext) -> None:
    """Make targets, fit on train, publish, and ask the gate's questions."""
    from pipeline.data.index.record import INDEX_FILE, read_index
    from pipeline.data.manifest.record import FILE, read_manifest
    from pipeline.data.policy.checks import policy_checks
    from pipeline.data.policy.export import make_policy, publish_policy

    params: Params = context.params
    manifest = read_manifest(context.upstream("manifest") / FILE)
    roots = [Path(root) for root in manifest.summary.get("data_roots", [])] or [context.workspace.root]
    folders = {e.episode_id: _folder(roots, e.path) for e in manifest.episodes}
    total = len(folders)

    def told(done: int) -> None:
        context.check_cancelled()
        context.emit("policy_episode", done=done, total=total, unit="episodes")

    records = list(read_index(context.upstream("index") / INDEX_FILE))
    policy = make_policy(records, folders, kind=params.kind, steps=params.steps, told=told)
    found: dict[str, Any] = publish_policy(
        policy, context.out, run_id=context.run.run_id, dataset=str(context.upstream("index"))
    )
    if params.lerobot:
        from pipeline.data.policy.lerobot import write_lerobot

        write_lerobot(context.out / "lerobot", folders, manifest.episodes, check=context.check_cancelled)
    keys = ("num_samples", "num_records", "split_counts", "skipped")
    context.emit("policy_exported", **{key: found[key] for key in keys})
    for check in policy_checks(policy, context.out, len(records), max_skipped_share=params.max_skipped_share):
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)


def _folder(roots: list[Path], path: str) -> Path:
    folders = [root / path for root in roots]
    return next((folder for folder in folders if folder.is_dir()), folders[0])

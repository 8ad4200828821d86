"""Stage `future_windows`: the index as contexts and the windows that follow them, for world-model branches.

Publishes `future_windows.jsonl` (a sample a line) and `future_windows_manifest.json`.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from pipeline.data.future import FutureRule
from pipeline.engine.context import StageContext

SAMPLES_FILE = "future_windows.jsonl"
MANIFEST_FILE = "future_windows_manifest.json"


class Params(FutureRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rule; see `pipeline.data.future.FutureRule`."""


def run(context: StageContext) -> None:
    """Cut, publish, and ask the gate's questions."""
    from pipeline.data.future import future_checks, make_futures
    from pipeline.data.index.record import INDEX_FILE, read_index
    from pipeline.data.manifest.record import FILE, read_manifest
    from pipeline.engine.files import publish_json

    rule: Params = context.params
    index = context.upstream("index") / INDEX_FILE
    manifest = read_manifest(context.upstream("manifest") / FILE)
    frames = {episode.episode_id: episode.frame_count or 0 for episode in manifest.episodes}
    futures = make_futures(read_index(index), rule, frames)
    context.check_cancelled()
    with (context.out / SAMPLES_FILE).open("wb") as out:
        for sample in futures.samples:
            out.write(msgspec.json.encode(sample) + b"\n")
    publish_json(
        context.out / MANIFEST_FILE,
        {
            "run_id": context.run.run_id,
            "rule": msgspec.to_builtins(rule),
            "num_samples": len(futures.samples),
            "num_records": futures.records,
            "left_out": futures.left_out,
            "split_counts": dict(Counter(sample.split for sample in futures.samples)),
            "num_episodes": len({sample.episode_id for sample in futures.samples}),
        },
    )
    context.emit(
        "future_windows", samples=len(futures.samples), records=futures.records, left_out=futures.left_out
    )
    for check in future_checks(futures, rule):
        if check.ok is None:
            context.needs_signature(check.name, check.detail, **check.evidence)
        else:
            context.check(check.name, check.ok, check.detail, **check.evidence)

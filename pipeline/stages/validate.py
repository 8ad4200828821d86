"""Stage `validate`: does the evidence support the claims?

Publishes `training.json` and `eval.json` in the published shape (formats section 2.8).
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from pipeline.engine.context import StageContext


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is asked of the evidence.

    Attributes:
        backbone: contract that decides what is owed.
        min_json_validity: least share of valid answers.
    """

    backbone: str = "qwen3_omni_lora"
    min_json_validity: Annotated[float, Meta(ge=0, le=1)] = 0.0


def run(context: StageContext) -> None:
    """Ask, record, and put every question to the gate."""
    import msgspec

    from pipeline.backbones.contract import read_catalogue
    from pipeline.engine.files import publish_json, read_json
    from pipeline.engine.runs import load_request
    from pipeline.qwen.adapter import adapter_hash
    from pipeline.verdicts.evaluation import evaluation_questions
    from pipeline.verdicts.record import Question, record
    from pipeline.verdicts.training import dataset_questions, training_questions

    params: Params = context.params
    contract = read_catalogue().contract(params.backbone)
    dataset, train, merge = (context.upstream(name) for name in ("export", "train", "merge"))
    manifest = read_json(context.upstream("manifest") / "episode_manifest.json")
    meta = read_json(train / "training_metadata.json")
    digest, splits = _rows(dataset / "dataset.jsonl")
    weights = train / ("adapter" if meta["tuning_mode"] == "lora" else "model")
    training = [
        *dataset_questions(dataset, manifest["episodes"]),
        *training_questions(
            train,
            train.parent / "progress.jsonl",
            contract,
            dataset_sha256=digest,
            adapter_sha256=adapter_hash(weights),
        ),
    ]
    context.check_cancelled()
    kind = load_request(context.run).kind
    evaluation = [
        *evaluation_questions(
            merge, contract, splits=splits, meta=meta, min_json_validity=params.min_json_validity
        ),
        Question("run_kind", "eval", kind in {"pilot", "verified"}, f"the run is of kind {kind!r}"),
    ]
    summary = _summary(context, contract, meta, dataset, merge)
    for name, questions in (("training", training), ("eval", evaluation)):
        publish_json(context.out / f"{name}.json", record(questions, summary | {"required_stage": name}))
        for one in questions:
            if one.ok is None:
                context.needs_signature(one.name, one.detail, stage=one.stage)
            else:
                context.check(one.name, one.ok, one.detail, stage=one.stage)
    context.emit(
        "validated", issues=[msgspec.to_builtins(q.issue) for q in (*training, *evaluation) if q.issue]
    )


def _rows(dataset: Any) -> tuple[str, dict[str, str]]:
    """sha256 of a dataset, and the split of every id."""
    import hashlib

    import msgspec

    digest, splits = hashlib.sha256(), dict[str, str]()
    with dataset.open("rb") as stream:
        for line in stream:
            digest.update(line)
            row = msgspec.json.decode(line)
            splits[row["id"]] = row["split"]
    return digest.hexdigest(), splits


def _summary(context: StageContext, contract: Any, meta: Any, dataset: Any, merge: Any) -> dict[str, Any]:
    """The facts the answers rest on, keys as published."""
    from pipeline.engine.files import read_json

    exported = read_json(dataset / "dataset_manifest.json")
    metrics = read_json(merge / "metrics.json")
    manifest = read_json(context.upstream("manifest") / "episode_manifest.json")
    return {
        "run_id": context.run.run_id,
        "dataset_run_id": exported["run_id"],
        "train_run_id": meta["run_id"],
        "eval_run_id": metrics["run_id"],
        "backbone": contract.id,
        "backbone_status": contract.status,
        "checkpoint_gate": contract.artifact_contract.checkpoint_gate,
        "manifest": {
            "episode_count": len(manifest["episodes"]),
            "split_counts": manifest["summary"].get("included_split_counts")
            or manifest["summary"].get("split_counts"),
        },
        "dataset": {key: exported.get(key) for key in ("num_samples", "num_episodes", "split_counts")},
        "training": {
            key: meta.get(key)
            for key in ("num_processes", "num_train_samples", "num_val_samples", "history", "best")
        },
        "eval": {
            "eval_split": metrics["eval_split"],
            "num_samples": metrics["num_samples"],
            "held_out_episode_count": metrics["held_out_episode_count"],
            "primary_metrics": {name: metrics.get(name) for name in contract.primary_metrics},
            "coverage": metrics["coverage"],
        },
    }

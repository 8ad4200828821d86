"""What one side of a comparison brings, from wherever it lies: a run, a package, a folder, a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import NotFoundError, UsageError, XopsError
from pipeline.engine.files import read_json
from pipeline.engine.paths import RunPaths
from pipeline.engine.runs import load_request
from pipeline.metrics import json_qa
from pipeline.metrics.answers import Options
from pipeline.metrics.json_qa import Judged
from pipeline.metrics.rows import read_rows

#: Kinds of run whose numbers may stand as results.
RESULTS = frozenset({"pilot", "verified"})

_PREDICTIONS = ("predictions.jsonl", "predictions.csv")

#: Settings that say where something was, not what was done.
_PLACES = frozenset({"model_dir", "dataset_jsonl", "checkpoint_dir", "cache_gib", "threads", "output_dir"})


class Evidence(Struct, frozen=True):
    """One side.

    Attributes:
        name: what reports call it.
        kind: of its run; empty where nobody recorded one.
        judged: its rows with their answers understood.
        options: action labels that were matched against.
        contract: of its dataset; empty where unknown.
        settings: how it was trained, as far as recorded.
        history: of the training.
    """

    name: str
    kind: str
    judged: tuple[Judged, ...]
    options: Options
    contract: str
    settings: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]

    @property
    def is_result(self) -> bool:
        """Whether its numbers may stand as a result; a foreign evaluation records no kind and counts."""
        return not self.kind or self.kind in RESULTS


def of_run(run: RunPaths) -> Evidence:
    """The merged evaluation of a run.

    Raises:
        NotFoundError: it has none yet.
    """
    merged = run.stage("merge").out
    if not (merged / "predictions.jsonl").is_file():
        raise NotFoundError(
            f"run {run.run_id} has no merged evaluation", hint=f"xops run start {run.run_id} --until merge"
        )
    return _evidence(
        run.run_id,
        load_request(run).kind,
        merged / "predictions.jsonl",
        _json(merged / "metrics.json"),
        _json(run.stage("train").out / "training_metadata.json"),
    )


def of_path(path: Path) -> Evidence:
    """A predictions file, or a folder or package that holds one.

    Raises:
        NotFoundError: there is none.
        UsageError: it holds no prediction.
    """
    file = path if path.is_file() else _predictions(path)
    folder = file.parent
    around = folder.parent if folder.name == "eval" else folder
    meta = _json(around / "training" / "training_metadata.json") or _json(folder / "training_metadata.json")
    summary = _json(around / "verified_result_summary.json")
    name = path.stem if path.is_file() else path.name
    kind = str(summary.get("run_kind", "")) or str(meta.get("run_kind", ""))
    return _evidence(name, kind, file, _json(folder / "metrics.json"), meta)


def _evidence(
    name: str, kind: str, file: Path, metrics: Mapping[str, Any], meta: Mapping[str, Any]
) -> Evidence:
    rows = read_rows(file).rows
    labels = metrics.get("labels")
    options = Options(labels if isinstance(labels, list) else sorted({row.true_label for row in rows}))
    backbone = meta.get("backbone")
    return Evidence(
        name=name,
        kind=kind,
        judged=tuple(json_qa.judge(rows, options)),
        options=options,
        contract=str(backbone.get("dataset_contract", "")) if isinstance(backbone, Mapping) else "",
        settings=_settings(meta),
        history=tuple(meta.get("history") or ()),
    )


def _settings(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What decided the training: our settings, or what the original recorded of its own."""
    found = dict(meta.get("settings") or {})
    lora = meta.get("lora")
    if not found and isinstance(lora, Mapping):
        found = {f"lora_{key}": value for key, value in lora.items()}
    for key in ("model_id", "num_train_samples", "num_processes", "loss_mode", "tuning_mode", "prompt_hash"):
        if meta.get(key) is not None:
            found.setdefault(key, meta[key])
    if meta.get("history"):
        found.setdefault("epochs", len(meta["history"]))
    return {key: value for key, value in found.items() if key not in _PLACES}


def _predictions(folder: Path) -> Path:
    for parent in (folder, folder / "eval"):
        for name in _PREDICTIONS:
            if (parent / name).is_file():
                return parent / name
    raise NotFoundError(f"{folder} holds no predictions", hint="name a run, a package or a predictions.jsonl")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except XopsError:
        return {}
    return content if isinstance(content, dict) else {}


def common_ids(one: Evidence, other: Evidence, *, common: bool) -> frozenset[str]:
    """Ids both sides answered.

    Raises:
        UsageError: they answered other questions, or other truths, and `common` does not say to go on.
    """
    mine, theirs = ({judged.row.id: judged.row for judged in side.judged} for side in (one, other))
    shared = mine.keys() & theirs.keys()
    if not shared:
        raise UsageError(
            f"{one.name} and {other.name} have no question in common", hint="compare runs of one dataset"
        )
    if one.contract and other.contract and one.contract != other.contract:
        raise UsageError(f"{one.name} answers {one.contract}, {other.name} {other.contract}")
    apart = sum(1 for name in shared if mine[name].true_label != theirs[name].true_label)
    if apart:
        raise UsageError(f"{apart} of {len(shared)} common questions have another true label on each side")
    if not common and (len(shared) < len(mine) or len(shared) < len(theirs)):
        raise UsageError(
            f"{one.name} has {len(mine)} rows, {other.name} {len(theirs)}, {len(shared)} of them in common",
            hint="--common compares those alone, and says so",
        )
    return frozenset(shared)

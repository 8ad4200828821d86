"""What a contract must say: the original registry's rules, and that every name in it means something.

Each issue names its file and the path of the value, so that an editor finds it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipeline.backbones.gates import CHECKPOINT_GATES
from pipeline.backbones.metrics import METRICS

STATUSES = ("implemented", "planned_adapter", "reference_only")
SPLITS = ("train", "val", "test")
ID = re.compile(r"[a-z][a-z0-9_]{2,63}")

#: What every list of forbidden things must mention; several words where people write different ones.
FORBIDDEN_TERMS = (("mp4",), ("hdf5",), ("rrd",), ("weights",), ("checkpoint",), ("archive",))

_TEXTS = (
    "id",
    "display_name",
    "status",
    "model_family",
    "dataset_contract",
    "training_objective",
    "split_policy.unit",
    "split_policy.leakage_guard",
    "artifact_contract.checkpoint_gate",
)
_LISTS = (
    "primary_metrics",
    "extension_requirements",
    "artifact_contract.required_eval_files",
    "artifact_contract.required_training_files",
    "artifact_contract.public_package_allowed",
    "artifact_contract.public_package_forbidden",
)
_OBJECTS = ("split_policy", "modalities", "entrypoints", "artifact_contract")


class Issue(NamedTuple):
    """Something wrong with a contract.

    Attributes:
        file: its name.
        path: of the value, as `$.split_policy.default_counts.train`.
        message: what is wrong.
    """

    file: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.message}"


class Places(NamedTuple):
    """Where entrypoints are looked for.

    Attributes:
        stages: names of stages.
        workspace: root of the files of another project; None to not look for files.
    """

    stages: Collection[str]
    workspace: Path | None = None


def contract_issues(record: Any, file: str, places: Places) -> list[Issue]:
    """Everything wrong with one contract.

    Args:
        record: what its file holds.
        file: name, for the issues.
        places: where its entrypoints must be.
    """
    if not isinstance(record, Mapping):
        return [Issue(file, "$", "must be an object")]
    found = list(_shape(record))
    if not found:  # rules below may rely on it
        found = [*_splits(record), *_names(record), *_evidence(record), *_entrypoints(record, places)]
    return [Issue(file, path, message) for path, message in found]


def folder_issues(records: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Issue]:
    """What is wrong between contracts: two of one id."""
    counts = Counter(str(record.get("id")) for _, record in records)
    return [
        Issue(file, "$.id", f"{record.get('id')!r} is the id of {counts[str(record.get('id'))]} contracts")
        for file, record in records
        if counts[str(record.get("id"))] > 1
    ]


Found = Iterator[tuple[str, str]]


def _shape(record: Mapping[str, Any]) -> Found:
    for path in _OBJECTS:
        if not isinstance(record.get(path), Mapping):
            yield f"$.{path}", "must be an object"
    for path in _TEXTS:
        value = _value(record, path)
        if not isinstance(value, str) or not value.strip():
            yield f"$.{path}", "must be a text, not empty"
    for path in _LISTS:
        value = _value(record, path)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            yield f"$.{path}", "must be a list of texts"
    yield from _texts_by_key(record, "modalities", lambda v: isinstance(v, list), "a list of texts")
    yield from _texts_by_key(
        record, "entrypoints", lambda v: v is None or isinstance(v, str), "a text or null"
    )


def _texts_by_key(record: Mapping[str, Any], path: str, fits: Any, wanted: str) -> Found:
    group = record.get(path)
    if isinstance(group, Mapping):
        for key, value in group.items():
            if not fits(value):
                yield f"$.{path}.{key}", f"must be {wanted}"


def _splits(record: Mapping[str, Any]) -> Found:
    counts = record["split_policy"].get("default_counts")
    if not isinstance(counts, Mapping):
        yield "$.split_policy.default_counts", "must be an object"
        return
    for split in SPLITS:
        count = counts.get(split)
        if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
            yield f"$.split_policy.default_counts.{split}", "must be a number above 0"


def _names(record: Mapping[str, Any]) -> Found:
    if not ID.fullmatch(record["id"]):
        yield "$.id", "must be lower-case letters, digits and _, beginning with a letter"
    if record["status"] not in STATUSES:
        yield "$.status", f"must be one of {', '.join(STATUSES)}"
    gate = record["artifact_contract"]["checkpoint_gate"]
    if gate not in CHECKPOINT_GATES:
        yield "$.artifact_contract.checkpoint_gate", f"no such gate {gate!r}: {', '.join(CHECKPOINT_GATES)}"
    for number, metric in enumerate(record["primary_metrics"]):
        if metric not in METRICS:
            yield f"$.primary_metrics[{number}]", f"no such metric {metric!r}"
    if not {*record["primary_metrics"]} - {"held_out_episode_count"}:
        yield "$.primary_metrics", "names no metric of quality"


def _evidence(record: Mapping[str, Any]) -> Found:
    """The least that must be shown before anything is claimed (C14)."""
    artefacts = record["artifact_contract"]
    if "held_out_episode_count" not in record["primary_metrics"]:
        yield "$.primary_metrics", "must include held_out_episode_count"
    evaluated = artefacts["required_eval_files"]
    for name in ("metrics.json", "RUN_REPORT.md"):
        if name not in evaluated:
            yield "$.artifact_contract.required_eval_files", f"must include {name}"
    if not any(name.endswith(".jsonl") for name in evaluated):
        yield "$.artifact_contract.required_eval_files", "must include a .jsonl of predictions"
    for name in ("training_metadata.json", "progress.jsonl"):
        if name not in artefacts["required_training_files"]:
            yield "$.artifact_contract.required_training_files", f"must include {name}"
    forbidden = " ".join(artefacts["public_package_forbidden"]).lower()
    for words in FORBIDDEN_TERMS:
        if not any(word in forbidden for word in words):
            yield "$.artifact_contract.public_package_forbidden", f"must mention {' or '.join(words)}"


def _entrypoints(record: Mapping[str, Any], places: Places) -> Found:
    for step, target in record["entrypoints"].items():
        wrong = _entrypoint(target, places) if target is not None else ""
        if wrong and record["status"] == "implemented":
            yield f"$.entrypoints.{step}", wrong


def _entrypoint(target: str, places: Places) -> str:
    """What is wrong with an entrypoint: ours are names of stages, other projects' are files."""
    if "/" not in target and "." not in target:
        return "" if target in places.stages else f"no stage is called {target!r}"
    relative = PurePosixPath(target)
    if relative.is_absolute() or ".." in relative.parts:
        return f"{target!r} leaves the workspace"
    if places.workspace is not None and not (places.workspace / relative).is_file():
        return f"{target} does not exist in {places.workspace}"
    return ""


def _value(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value

"""A public package: what the allow-list names, redacted line by line, with a summary of what it claims."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.backbones.contract import Contract
from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.errors import UsageError
from pipeline.engine.files import publish_bytes, read_json
from pipeline.package.audit import SUMMARY_FILE
from pipeline.package.secrets import Redactor, find

PUBLIC_SUMMARY_FILE = "PUBLIC_RESULT_SUMMARY.md"

#: Kinds of run that are no result, whatever they score.
NO_RESULTS = frozenset({"smoke", "overfit"})

_EXCLUDED = (
    "raw MP4, annotation HDF5, Rerun RRD, base-model weights, adapter weights, full checkpoints, archives"
)


class Sources(Struct, frozen=True):
    """Published folders that a package is made of."""

    manifest: Path
    export: Path
    train: Path
    checkpoint_gate: Path
    merge: Path
    validate: Path
    report: Path


class Packed(Struct, frozen=True):
    """A file of the package.

    Attributes:
        path: below the package.
        redactions: words put in place of paths and hosts.
    """

    path: str
    redactions: int


def allowed(contract: Contract) -> dict[str, tuple[str, str]]:
    """The allow-list: file of the package -> (source, file there). Nothing else is ever copied."""
    files = {f"eval/{name}": ("merge", name) for name in contract.artifact_contract.required_eval_files}
    files["eval/RUN_REPORT.md"] = ("report", "RUN_REPORT.md")
    files["eval/report.html"] = ("report", "report.html")
    files["dataset/dataset_manifest.json"] = ("export", "dataset_manifest.json")
    files["dataset/episode_manifest.json"] = ("manifest", "episode_manifest.json")
    files["training/training_metadata.json"] = ("train", "training_metadata.json")
    files["training/progress.jsonl"] = ("train", "progress.jsonl")
    files["training/adapter_shape_check.json"] = ("checkpoint_gate", "adapter_shape_check.json")
    files["validation/training.json"] = ("validate", "training.json")
    files["validation/eval.json"] = ("validate", "eval.json")
    return files


def build_package(
    out: Path, sources: Sources, contract: Contract, *, kind: str, redactor: Redactor
) -> list[Packed]:
    """Write the package into the empty folder `out`.

    Raises:
        UsageError: the run is of a kind that is no result, a validation did not pass, a file is missing, or
            one holds a secret.
    """
    if kind in NO_RESULTS:
        raise UsageError(
            f"a {kind} run is not a result and is never packaged", hint="xops run new --kind pilot --from RUN"
        )
    for name in ("training", "eval"):
        if read_json(sources.validate / f"{name}.json").get("status") != "pass":
            raise UsageError(f"the validation of the {name} did not pass", hint="xops gate show RUN validate")
    packed = []
    for target, (source, name) in allowed(contract).items():
        path = getattr(sources, source) / name
        if not path.is_file():
            raise UsageError(f"{source} has no {name}, which {contract.id} owes", hint="run that stage again")
        packed.append(_copy(path, out / target, target, redactor))
    summary = _summary(sources, contract, kind, [one.path for one in packed])
    text, _ = redactor.redact(msgspec.json.format(msgspec.json.encode(summary)).decode())
    publish_bytes(out / SUMMARY_FILE, text.encode())
    publish_bytes(out / PUBLIC_SUMMARY_FILE, _public_summary(summary).encode())
    return packed


def redactor_for(workspace: Path, config: WorkspaceConfig, extra: Mapping[str, str]) -> Redactor:
    """A redactor that knows this workspace's folders, its hosts and who works here.

    Args:
        workspace: its root.
        config: of it.
        extra: further folder -> word.
    """
    roots = {str(workspace): "<workspace>", str(Path.home()): "<home>", **extra}
    hosts: list[str] = [socket.gethostname()]
    for name, host in config.hosts.items():
        roots |= {host.data_root: "<data>"} if host.data_root else {}
        address = host.address.rpartition("@")[2].partition(":")[0]
        hosts += [part for part in (name, address) if part not in {"training", "relay", "localhost"}]
    user = getpass.getuser()
    return Redactor(roots, [*hosts, *([user] if user not in {"root", "user"} else [])])


def _copy(source: Path, target: Path, name: str, redactor: Redactor) -> Packed:
    text = source.read_text("utf-8", "replace")
    clean, count = redactor.redact(text)
    left = [one for one in find(clean) if not one.redactable]
    if left:
        raise UsageError(
            f"{source} line {left[0].line} holds a {left[0].kind} ({left[0].shown}); nothing was packaged",
            hint="revoke it, remove it there, and package again",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    publish_bytes(target, clean.encode())
    return Packed(name, count)


def _summary(sources: Sources, contract: Contract, kind: str, files: Iterable[str]) -> dict[str, Any]:
    """`verified_result_summary.json`, keys as published."""
    metrics = read_json(sources.merge / "metrics.json")
    meta = read_json(sources.train / "training_metadata.json")
    dataset = read_json(sources.export / "dataset_manifest.json")
    validation = read_json(sources.validate / "eval.json")
    owed = contract.artifact_contract
    return {
        "status": "verified",
        "run_kind": kind,
        "backbone": contract.id,
        "backbone_display_name": contract.display_name,
        "dataset_contract": contract.dataset_contract,
        "training_objective": contract.training_objective,
        "dataset_run_id": dataset["run_id"],
        "train_run_id": meta["run_id"],
        "eval_run_id": metrics["run_id"],
        "dataset": {
            key: dataset.get(key)
            for key in ("num_samples", "num_episodes", "split_counts", "skipped_episodes")
        },
        "training": {
            key: meta[key] for key in ("num_processes", "num_train_samples", "num_val_samples", "history")
        },
        "eval": {
            "eval_split": metrics["eval_split"],
            "num_samples": metrics["num_samples"],
            "prediction_file": "eval/predictions.jsonl",
            "prediction_rows": metrics["coverage"]["merged_prediction_rows"],
            "num_eval_episodes": metrics["num_eval_episodes"],
            "held_out_episode_count": metrics["held_out_episode_count"],
            "primary_metrics": {name: metrics.get(name) for name in contract.primary_metrics},
            "baselines": metrics["baselines"]["parity"],
            "coverage": metrics["coverage"],
        },
        "validation_summary": validation["summary"],
        "included_files": sorted(files),
        "required_eval_files": list(owed.required_eval_files),
        "public_package_allowed": list(owed.public_package_allowed),
        "public_package_forbidden": list(owed.public_package_forbidden),
        "excluded_policy": _EXCLUDED,
    }


def _public_summary(summary: Mapping[str, Any]) -> str:
    evaluation, baselines = summary["eval"], summary["eval"]["baselines"]
    lines = [
        f"# {summary['backbone_display_name']}: verified result",
        "",
        f"- Evaluation: `{summary['eval_run_id']}`",
        f"- Rows: `{evaluation['prediction_rows']}` of `{evaluation['coverage']['expected_eval_samples']}`",
        f"- Held-out episodes: `{evaluation['held_out_episode_count']}`",
        f"- Skipped episodes: `{len(summary['dataset']['skipped_episodes'] or ())}`",
        "",
        "| metric | value | without looking |",
        "|---|---:|---:|",
    ]
    for name, value in evaluation["primary_metrics"].items():
        lines.append(f"| {name} | {_number(value)} | {_number(baselines.get(name))} |")
    return "\n".join([*lines, "", f"Not included: {_EXCLUDED}.", ""])


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)

"""Whether a package directory may be public, file by file, and whether it holds what its contract owes.

Works on any directory: ours before it is published, and packages that others published.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.backbones.contract import Contract, read_catalogue
from pipeline.engine.errors import NotFoundError, UsageError, XopsError
from pipeline.engine.files import read_json
from pipeline.package.kinds import TEXT, hidden_data, kind_of
from pipeline.package.secrets import find

SUMMARY_FILE, AUDIT_FILE = "verified_result_summary.json", "package_audit.json"

#: Largest file that may leave, bytes.
LARGEST = 50 << 20

#: What a public file may be called; everything else stays.
SUFFIXES = frozenset({".json", ".jsonl", ".csv", ".md", ".txt", ".yaml", ".yml", ".html"})

#: Findings of one file that are listed; the rest is counted.
_LISTED = 5


class FileVerdict(Struct, frozen=True):
    """One file of a package.

    Attributes:
        path: below the package.
        bytes, sha256: of its content.
        kind: what it is by content.
        reasons: why it may not be public; empty when it may.
    """

    path: str
    bytes: int
    sha256: str
    kind: str
    reasons: tuple[str, ...]


class Audit(Struct, frozen=True):
    """The verdict on a package; keys of the original's audit, and ours.

    Attributes:
        status: `pass` or `fail`.
        package_dir: its name.
        backbone: of its summary.
        required_eval_files, primary_metrics: what its contract owes.
        issues: everything that is wrong, in words.
        files: verdicts.
    """

    status: str
    package_dir: str
    backbone: str
    required_eval_files: tuple[str, ...]
    primary_metrics: tuple[str, ...]
    issues: tuple[str, ...]
    files: tuple[FileVerdict, ...]


def audit_package(folder: Path) -> Audit:
    """Look into every file of a package, and at what it claims.

    Raises:
        NotFoundError: there is no such directory.
    """
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no directory", hint="xops package audit DIRECTORY")
    files = tuple(file_verdict(path, folder) for path in _files(folder))
    issues = [f"{file.path}: {reason}" for file in files for reason in file.reasons]
    summary = _json(folder / SUMMARY_FILE)
    backbone = str(summary.get("backbone", "")) if summary else ""
    contract = _contract(backbone)
    if summary is None:
        issues.append(f"{SUMMARY_FILE} is missing or no JSON object")
    else:
        issues += claim_issues(folder, summary, contract)
    return Audit(
        status="fail" if issues else "pass",
        package_dir=folder.name,
        backbone=backbone,
        required_eval_files=contract.artifact_contract.required_eval_files if contract else (),
        primary_metrics=tuple(sorted(contract.primary_metrics)) if contract else (),
        issues=tuple(issues),
        files=files,
    )


def file_verdict(path: Path, root: Path) -> FileVerdict:
    """Whether one file may be public."""
    name = path.relative_to(root).as_posix()
    if path.is_symlink():
        inside = path.resolve().is_relative_to(root.resolve())
        where = "" if inside else " out of the package"
        return FileVerdict(name, 0, "", "link", (f"a symbolic link{where}",))
    try:
        kind, size = kind_of(path), path.stat().st_size
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return FileVerdict(name, 0, "", "unreadable", (f"cannot be read: {error.strerror or error}",))
    return FileVerdict(name, size, digest, kind, tuple(_reasons(path, kind, size)))


def claim_issues(folder: Path, summary: Mapping[str, Any], contract: Contract | None) -> list[str]:
    """What is wrong with what a package claims (formats section 2.8)."""
    issues: list[str] = []
    if summary.get("status") != "verified":
        issues.append(f"its status is {summary.get('status')!r}, not 'verified'")
    if str(summary.get("run_kind", "pilot")) in {"smoke", "overfit"}:
        issues.append(f"a {summary['run_kind']} run is not a result")
    evaluation = summary.get("eval") if isinstance(summary.get("eval"), Mapping) else {}
    issues += _eval_issues(evaluation or {})
    issues += _required_issues(folder, evaluation or {}, contract, str(summary.get("backbone", "")))
    issues += _validation_issues(folder)
    dataset = summary.get("dataset")
    if not isinstance(dataset, Mapping) or "skipped_episodes" not in dataset:
        issues.append("it does not say which episodes were skipped")
    return issues


def _reasons(path: Path, kind: str, size: int) -> Iterator[str]:
    if path.suffix.lower() not in SUFFIXES:
        yield f"files called {path.suffix or 'without a suffix'} are not on the allow-list"
    if kind not in TEXT:
        yield f"its content is {kind}"
        return
    if size > LARGEST:
        yield f"{size / (1 << 20):.0f} MiB, {LARGEST >> 20} may be"
        return
    if hidden := hidden_data(path):
        yield hidden
    found = find(path.read_text("utf-8", "replace"))
    for one in found[:_LISTED]:
        yield f"line {one.line}: {one.kind} {one.shown}"
    if len(found) > _LISTED:
        yield f"and {len(found) - _LISTED} more paths, hosts or secrets"


def _eval_issues(evaluation: Mapping[str, Any]) -> Iterator[str]:
    if not evaluation.get("prediction_rows") and not evaluation.get("num_samples"):
        yield "it counts no prediction"
    episodes = evaluation.get("held_out_episode_count") or evaluation.get("num_eval_episodes")
    if not episodes:
        yield "it counts no held-out episode"


def _required_issues(
    folder: Path, evaluation: Mapping[str, Any], contract: Contract | None, backbone: str
) -> Iterator[str]:
    if contract is None:
        yield f"no contract is known for backbone {backbone!r}"
        return
    for name in contract.artifact_contract.required_eval_files:
        if not (folder / "eval" / name).is_file():
            yield f"eval/{name} is missing; {contract.id} owes it"
    stated = evaluation.get("primary_metrics")
    metrics = stated if isinstance(stated, Mapping) else {}
    stored = _json(folder / "eval" / "metrics.json") or {}
    for name in contract.primary_metrics:
        if metrics.get(name, stored.get(name)) is None:
            yield f"primary metric {name} is missing or null"
        elif name in metrics and name in stored and metrics[name] != stored[name]:
            yield f"{name} is {metrics[name]} in the summary, {stored[name]} in eval/metrics.json"


def _validation_issues(folder: Path) -> Iterator[str]:
    found = sorted((folder / "validation").glob("*.json")) if (folder / "validation").is_dir() else []
    if not found:
        yield "there is no validation"
    for path in found:
        record = _json(path)
        if record is None or record.get("status") != "pass":
            yield f"validation/{path.name} does not say pass"


def _contract(backbone: str) -> Contract | None:
    try:
        return read_catalogue().contract(backbone) if backbone else None
    except XopsError:
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except XopsError:
        return None
    return content if isinstance(content, dict) else None


def _files(folder: Path) -> Sequence[Path]:
    """Every file and link below a folder, links not followed."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        found += [Path(parent, name) for name in names]
        found += [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
    return sorted(found)


def as_record(audit: Audit) -> dict[str, Any]:
    """The audit as JSON."""
    record: dict[str, Any] = msgspec.to_builtins(audit)
    return record


def refuse_unless_public(audit: Audit) -> None:
    """Raise UsageError naming the first issues of a failed audit."""
    if audit.issues:
        first = "; ".join(audit.issues[:3])
        raise UsageError(
            f"{len(audit.issues)} issues keep {audit.package_dir} from being public: {first}",
            hint="xops package audit DIRECTORY",
        )

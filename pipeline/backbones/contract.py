"""One backbone contract, and the folder they are read from (formats 2.11).

The keys are the original project's, so its files load unchanged. `contracts/` holds ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from pipeline.backbones.rules import Issue, Places, contract_issues, folder_issues
from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError
from pipeline.engine.files import read_json
from pipeline.engine.registry import load_registry

#: The contracts that come with xops.
OWN = Path(__file__).parent / "contracts"


class SplitPolicy(Struct, frozen=True):
    """How samples are divided.

    Attributes:
        unit: what is never divided.
        default_counts: units per split.
        leakage_guard: in words, what keeps the splits apart.
    """

    unit: str
    default_counts: dict[str, int]
    leakage_guard: str


class ArtifactContract(Struct, frozen=True):
    """What proves a branch's claims, and what may be published of it.

    Attributes:
        checkpoint_gate: name of the check a checkpoint must pass.
        required_eval_files, required_training_files: file names; `*` is a wildcard.
        public_package_allowed, public_package_forbidden: in words.
    """

    checkpoint_gate: str
    required_eval_files: tuple[str, ...]
    required_training_files: tuple[str, ...]
    public_package_allowed: tuple[str, ...]
    public_package_forbidden: tuple[str, ...]


class Contract(Struct, frozen=True):
    """One model branch.

    Attributes:
        id, display_name, model_family: which.
        status: `implemented`, `planned_adapter` or `reference_only`.
        dataset_contract, training_objective: names of what it trains on, and for what.
        split_policy, artifact_contract: see there.
        modalities: lists of inputs and targets in words, by role.
        entrypoints: what does each step: a stage's name, or a file of another project; None where missing.
        primary_metrics: metrics every report of it must have.
        extension_requirements: what is still to be done, in words.
        default_model_id, local_model_env: the base model, and the variable that names its local folder.
        priority: place in the order of work; 0 where not stated.
        decision: what was decided about it, in words.
    """

    id: str
    display_name: str
    status: str
    model_family: str
    dataset_contract: str
    training_objective: str
    split_policy: SplitPolicy
    modalities: dict[str, tuple[str, ...]]
    entrypoints: dict[str, str | None]
    primary_metrics: tuple[str, ...]
    artifact_contract: ArtifactContract
    extension_requirements: tuple[str, ...]
    default_model_id: str | None = None
    local_model_env: str | None = None
    priority: int = 0
    decision: str = ""

    @property
    def missing_entrypoints(self) -> tuple[str, ...]:
        """Steps that nothing does yet."""
        return tuple(step for step, target in self.entrypoints.items() if target is None)


class Catalogue(Struct, frozen=True):
    """All contracts of a folder.

    Attributes:
        contracts: those without issues, by id.
        issues: what is wrong with the others.
        files: file of every contract read, by id; of several with one id the first.
    """

    contracts: dict[str, Contract] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)

    def contract(self, name: str) -> Contract:
        """The contract called `name`.

        Raises:
            UsageError: it has issues.
            NotFoundError: there is none.
        """
        if name in self.contracts:
            return self.contracts[name]
        if name in self.files:
            first = next(issue for issue in self.issues if issue.file == self.files[name].name)
            raise UsageError(f"contract {name} is not valid: {first}", hint="xops registry validate")
        raise NotFoundError(
            f"no contract {name!r}; there are: {', '.join(self.contracts)}", hint="xops registry ls"
        )


def read_catalogue(folder: Path = OWN, *, workspace: Path | None = None) -> Catalogue:
    """Read and check every `*.json` of `folder`.

    Args:
        folder: where the contracts are.
        workspace: root of the project whose files the entrypoints name; without one files are not looked
            for.

    Raises:
        NotFoundError: there is no such folder, or it has no contract.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise NotFoundError(f"{folder} holds no contract", hint="xops registry ls --dir FOLDER")
    places = Places(load_registry().stages, workspace)
    records: list[tuple[Path, dict[str, Any]]] = []
    issues: list[Issue] = []
    for path in paths:
        try:
            record = read_json(path)
        except DamagedFileError as error:
            issues.append(Issue(path.name, "$", str(error)))
            continue
        found = contract_issues(record, path.name, places)
        issues += found
        if isinstance(record, dict):
            records.append((path, record))
    issues += folder_issues([(path.name, record) for path, record in records])
    bad = {issue.file for issue in issues}
    files: dict[str, Path] = {}
    for path, record in records:
        files.setdefault(str(record.get("id")), path)
    good = {
        str(record["id"]): msgspec.convert(record, Contract)
        for path, record in records
        if path.name not in bad
    }
    return Catalogue(good, tuple(issues), files)

"""A new contract from the template of an existing one; what a family must decide itself becomes null."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.backbones.rules import Places, contract_issues
from pipeline.engine.errors import BusyError, UsageError
from pipeline.engine.files import publish_json, read_json
from pipeline.engine.registry import load_registry


class NewContract(Struct, frozen=True, kw_only=True):
    """What a new contract says of itself; the names are the original scaffold's options.

    Attributes:
        id, display_name, model_family, dataset_contract, training_objective, checkpoint_gate: see `Contract`.
        status: it cannot be implemented, because nothing does its steps yet.
        local_model_env: the variable that names its model folder; None for the template's.
    """

    id: str
    display_name: str
    model_family: str
    dataset_contract: str
    training_objective: str
    checkpoint_gate: str
    status: str = "planned_adapter"
    local_model_env: str | None = None


class Scaffold(Struct, frozen=True, kw_only=True):
    """A contract ready to be written.

    Attributes:
        path: where.
        contract: its content.
        diff: against the template, as lines.
    """

    path: Path
    contract: dict[str, Any]
    diff: tuple[str, ...]


def scaffold(template: Path, new: NewContract, folder: Path) -> Scaffold:
    """Make a contract; nothing is written.

    Steps only stay where the same stage serves every family; training, evaluation and launching become null.

    Raises:
        UsageError: the result would not be valid; every issue is named.
    """
    base = read_json(template)
    if not isinstance(base, Mapping):
        raise UsageError(f"{template} is not a contract")
    if new.status == "implemented":
        raise UsageError("a new contract has nothing that implements it", hint="--status planned_adapter")
    artefacts = {**base["artifact_contract"], "checkpoint_gate": new.checkpoint_gate}
    contract = {
        **base,
        "id": new.id,
        "display_name": new.display_name,
        "status": new.status,
        "model_family": new.model_family,
        "default_model_id": None,
        "local_model_env": new.local_model_env or base.get("local_model_env"),
        "dataset_contract": new.dataset_contract,
        "training_objective": new.training_objective,
        "entrypoints": {
            step: base["entrypoints"][step] if step in _SHARED else None for step in base["entrypoints"]
        },
        "artifact_contract": artefacts,
        "extension_requirements": [f"Name what {new.display_name} still needs before it is implemented."],
    }
    contract.pop("priority", None)
    contract.pop("decision", None)
    path = folder / f"{new.id}.json"
    issues = contract_issues(contract, path.name, Places(load_registry().stages))
    if issues:
        raise UsageError("; ".join(map(str, issues)), hint="xops registry scaffold --help")
    before, after = (json.dumps(text, indent=2).splitlines() for text in (base, contract))
    diff = tuple(difflib.unified_diff(before, after, template.name, path.name, lineterm="", n=1))
    return Scaffold(path=path, contract=contract, diff=diff)


def write(made: Scaffold, *, overwrite: bool = False) -> None:
    """Write a contract.

    Raises:
        BusyError: there is a file of that name, and `overwrite` is not set.
    """
    if made.path.exists() and not overwrite:
        raise BusyError(f"{made.path} exists", hint="see the difference: --dry-run; replace it: --overwrite")
    publish_json(made.path, made.contract)


#: Steps that every family shares.
_SHARED = frozenset(
    {"select", "relay", "discover", "manifest", "audit", "selection_manifest", "neutral_index", "validate"}
)

"""Contracts: what is valid, what is said about what is not, and how a new one begins."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backbones.contract import OWN, read_catalogue
from pipeline.backbones.gates import CHECKPOINT_GATES
from pipeline.backbones.metrics import METRICS
from pipeline.backbones.rules import Places, contract_issues
from pipeline.backbones.scaffold import NewContract, scaffold, write
from pipeline.engine.errors import BusyError, NotFoundError, UsageError

VALID = json.loads((OWN / "policy_vla_branch.json").read_text("utf-8"))
NEW = NewContract(
    id="new_policy_branch",
    display_name="New Policy Branch",
    model_family="A family",
    dataset_contract="xperience10m_observation_action_v1",
    training_objective="observation_to_action_policy",
    checkpoint_gate="policy_checkpoint_action_space_and_normalizer",
)


def changed(path: str, value: Any) -> dict[str, Any]:
    record = copy.deepcopy(VALID)
    *parents, last = path.split(".")
    place = record
    for key in parents:
        place = place[key]
    place[last] = value
    return record


def paths(record: Any) -> list[str]:
    return [issue.path for issue in contract_issues(record, "c.json", Places({"manifest", "index"}))]


def test_our_contracts_are_valid_and_say_what_is_missing() -> None:
    catalogue = read_catalogue()
    assert catalogue.issues == ()
    assert {"qwen3_omni_lora", "cosmos_world_model", "policy_vla_branch"} <= catalogue.contracts.keys()
    for contract in catalogue.contracts.values():
        assert contract.status != "implemented" or not contract.missing_entrypoints


def test_the_original_contracts_are_valid_unchanged(published: Path) -> None:
    catalogue = read_catalogue(published / "configs" / "omni_backbones")
    assert catalogue.issues == ()
    assert catalogue.contract("qwen3_omni_lora").split_policy.default_counts == {
        "train": 96,
        "val": 16,
        "test": 16,
    }


def test_files_of_another_project_are_looked_for_only_in_a_given_workspace(
    published: Path, tmp_path: Path
) -> None:
    catalogue = read_catalogue(published / "configs" / "omni_backbones", workspace=tmp_path)
    assert {issue.file for issue in catalogue.issues} == {"cosmos_world_model.json", "qwen3_omni_lora.json"}
    assert all(issue.path.startswith("$.entrypoints.") for issue in catalogue.issues)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "Bad-Id"),
        ("id", 7),
        ("status", "done"),
        ("split_policy.default_counts.val", 0),
        ("split_policy.default_counts.test", True),
        ("split_policy.leakage_guard", " "),
        ("artifact_contract.checkpoint_gate", "looks_fine"),
        ("artifact_contract.public_package_forbidden", ["raw MP4", "annotation HDF5", "Rerun RRD"]),
        ("artifact_contract.required_eval_files", ["metrics.json", "RUN_REPORT.md"]),
        ("artifact_contract.required_training_files", ["progress.jsonl"]),
        ("primary_metrics", ["held_out_episode_count"]),
        ("modalities.observations", "video"),
        ("entrypoints.export", 3),
        ("artifact_contract", None),
    ],
)
def test_an_issue_names_the_path_of_the_value(path: str, value: Any) -> None:
    found = paths(changed(path, value))
    assert found
    assert all(one == f"$.{path}" or one.startswith(f"$.{path}.") for one in found)


def test_a_metric_nobody_defined_cannot_be_promised() -> None:
    assert paths(changed("primary_metrics", ["held_out_episode_count", "vibes"])) == ["$.primary_metrics[1]"]


@pytest.mark.parametrize("target", ["no_stage", "../escape.py", "/etc/passwd.sh"])
def test_an_implemented_contract_needs_entrypoints_that_exist(target: str) -> None:
    record = changed("status", "implemented")
    record["entrypoints"] = {"train": target}
    assert paths(record) == ["$.entrypoints.train"]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.sampled_from(sorted(VALID)), inner) | st.lists(inner),
    )
)
def test_no_content_breaks_the_check(record: Any) -> None:
    assert contract_issues(record, "c.json", Places(()))


def test_a_folder_with_broken_and_double_contracts(tmp_path: Path) -> None:
    for name, text in {"a": json.dumps(VALID), "b": json.dumps(VALID), "c": '{"id": "torn'}.items():
        (tmp_path / f"{name}.json").write_text(text, "utf-8")
    catalogue = read_catalogue(tmp_path)
    assert catalogue.contracts == {}
    assert [(issue.file, issue.path) for issue in catalogue.issues] == [
        ("c.json", "$"),
        ("a.json", "$.id"),
        ("b.json", "$.id"),
    ]
    with pytest.raises(UsageError, match="is the id of 2 contracts"):
        catalogue.contract("policy_vla_branch")
    with pytest.raises(NotFoundError):
        read_catalogue(tmp_path / "nowhere")


def test_a_new_contract_has_nothing_that_implements_it(tmp_path: Path) -> None:
    made = scaffold(OWN / "policy_vla_branch.json", NEW, tmp_path)
    assert made.contract["entrypoints"]["train"] is None
    assert made.contract["entrypoints"]["neutral_index"] == "index"
    assert any(line == '+  "id": "new_policy_branch",' for line in made.diff)
    assert not list(tmp_path.iterdir())
    write(made)
    assert read_catalogue(tmp_path).contract("new_policy_branch").status == "planned_adapter"
    with pytest.raises(BusyError, match="exists"):
        write(made)
    write(made, overwrite=True)


@pytest.mark.parametrize(
    "wrong",
    [{"id": "../escape"}, {"checkpoint_gate": "none"}, {"status": "implemented"}, {"model_family": ""}],
)
def test_a_new_contract_that_would_not_be_valid_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    import msgspec

    with pytest.raises(UsageError):
        scaffold(OWN / "policy_vla_branch.json", msgspec.structs.replace(NEW, **wrong), tmp_path)


def test_every_gate_and_metric_is_explained() -> None:
    assert all(text and len(text) < 80 for text in (*CHECKPOINT_GATES.values(), *METRICS.values()))

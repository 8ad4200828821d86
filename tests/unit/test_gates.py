"""Verdicts are derived from checks and from decisions about exactly these checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.engine.errors import DamagedFileError
from pipeline.engine.gates import Check, Decision, GateRecord, Verdict, publish_gate, read_gate


def gate(*answers: bool | None, waivable: bool = True) -> GateRecord:
    checks = tuple(Check(name=f"c{i}", ok=ok, detail="d", evidence={"n": i}) for i, ok in enumerate(answers))
    return GateRecord(stage="audit", attempt=1, evaluated=1.0, checks=checks, waivable=waivable)


def decided(record: GateRecord, kind: str) -> GateRecord:
    decision = Decision(kind=kind, who="ann@x", why="w", when=2.0, digest=record.digest)
    return replace(record, decisions=(*record.decisions, decision))


@pytest.mark.parametrize(
    ("answers", "plain", "waived", "signed"),
    [
        ((True, True), "pass", "pass", "pass"),
        ((True, False), "fail", "waived", "fail"),
        ((True, None), "unsigned", "waived", "pass"),
        ((False, None), "fail", "waived", "fail"),
    ],
)
def test_what_a_decision_does(answers: tuple[bool | None, ...], plain: str, waived: str, signed: str) -> None:
    record = gate(*answers)
    verdicts = (record.verdict, decided(record, "waive").verdict, decided(record, "sign").verdict)
    assert verdicts == (plain, waived, signed)


def test_a_gate_that_cannot_be_waived_ignores_waivers() -> None:
    assert decided(gate(False, waivable=False), "waive").verdict is Verdict.FAIL


@given(
    st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=5), st.sampled_from(["waive", "sign"])
)
def test_a_decision_ends_with_its_evidence(answers: list[bool | None], kind: str) -> None:
    record = decided(gate(*answers), kind)
    first = record.checks[0]
    changed = replace(record, checks=(replace(first, evidence={"n": 99}), *record.checks[1:]))
    assert changed.verdict is replace(changed, decisions=()).verdict
    assert replace(record, attempt=2, evaluated=9.0).verdict is record.verdict, "the same evidence again"


def test_the_file_says_the_verdict_and_nobody_believes_it(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    publish_gate(path, gate(True, False))
    assert '"verdict": "fail"' in path.read_text()
    path.write_text(path.read_text().replace('"verdict": "fail"', '"verdict": "pass"'))
    read = read_gate(path)
    assert read is not None
    assert read.verdict is Verdict.FAIL


def test_absent_and_damaged_records(tmp_path: Path) -> None:
    assert read_gate(tmp_path / "none.json") is None
    (tmp_path / "gate.json").write_text('{"checks": 1}')
    with pytest.raises(DamagedFileError, match="not a gate record"):
        read_gate(tmp_path / "gate.json")

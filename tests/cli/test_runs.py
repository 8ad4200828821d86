"""The life of a run, from the command line alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_process import Xops


def new(xops: Xops, *arguments: str) -> str:
    answer = xops("run", "new", *arguments, "--json")
    assert answer.code == 0, answer.err
    run_id: str = answer.data["run_id"]
    return run_id


def states(xops: Xops, run: str) -> dict[str, str]:
    stages: list[dict[str, Any]] = xops("run", "show", run, "--json").data["stages"]
    return {stage["stage"]: stage["state"] for stage in stages}


def test_new_plan_start_wait(xops: Xops, tmp_path: Path) -> None:
    run = new(xops, "chain", "--name", "First Try!")
    assert "first-try" in run
    steps = xops("run", "plan", "last", "--json").data["steps"]
    assert [step["action"] for step in steps] == ["start", "start", "start"]
    started = xops("run", "start", "last", "--json").data
    assert [handoff["stage"] for handoff in started["handoffs"]] == ["a"]
    assert started["handoffs"][0]["pid"] > 0
    waited = xops("run", "wait", "last", "--json", "--timeout", "60")
    assert waited.code == 0
    assert states(xops, run) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert (tmp_path / "runs" / run / "stages" / "c" / "out" / "value.txt").read_text() == "v+v+v"
    again = xops("run", "start", "last")
    assert again.code == 4
    assert "done already" in again.err


def test_dry_runs_change_nothing(xops: Xops, tmp_path: Path) -> None:
    assert xops("run", "new", "chain", "--dry-run", "--json").data["dry_run"] is True
    assert xops("run", "ls", "--json").data["runs"] == []
    new(xops, "chain")
    before = sorted(tmp_path.rglob("*"))
    act = xops("run", "start", "last", "--dry-run", "--json").data
    assert act["dry_run"] is True
    assert act["handoffs"] == []
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_says_what_and_what_next(xops: Xops) -> None:
    new(xops, "quick", "--set", "quick.act=fails")
    xops("run", "start", "last")
    waited = xops("run", "wait", "last")
    assert waited.code == 1
    (attempt,) = xops("stage", "show", "last", "quick", "--json").data["attempts"]
    assert attempt["message"] == "host beta does not answer"
    assert attempt["hint"] == "ssh beta true"


def test_cancel_and_resume(xops: Xops, tmp_path: Path) -> None:
    run = new(xops, "chain", "--set", "a.pause_at=3")
    xops("run", "start", "last", "--only", "a")
    assert xops("run", "start", "last", "--only", "a").code == 75
    timed_out = xops("run", "wait", "last", "--timeout", "0.1")
    assert timed_out.code == 124
    assert xops("run", "cancel", "last").code == 0
    assert xops("run", "wait", "last").code == 1
    assert states(xops, run)["a"] == "cancelled"
    (tmp_path / "runs" / run / "stages" / "a" / "release").touch()
    assert xops("run", "resume", "last", "--only", "a").code == 0
    assert xops("run", "wait", "last", "--stage", "a").code == 0
    items = (tmp_path / "runs" / run / "stages" / "a" / "out" / "items.txt").read_text().split()
    assert items == [str(n) for n in range(10)]


def test_what_is_lost_is_asked_first(xops: Xops) -> None:
    new(xops, "chain")
    xops("run", "start", "last", "--only", "a")
    xops("run", "wait", "last", "--stage", "a")
    refused = xops("run", "invalidate", "last", "--stage", "a")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert xops("run", "invalidate", "last", "--stage", "a", "--dry-run").code == 0
    assert xops("run", "invalidate", "last", "--stage", "a", "--yes").code == 0
    assert states(xops, "last")["a"] == "ready"


def test_a_closed_gate_stops_what_follows_until_it_is_waived(xops: Xops) -> None:
    new(xops, "gates", "--set", "gated.gate=fail", "--set", "strict.gate=fail")
    xops("run", "start", "last")
    assert xops("run", "wait", "last").code == 3
    verdicts = {gate["stage"]: gate["verdict"] for gate in xops("gate", "ls", "last", "--json").data["gates"]}
    assert verdicts == {"gated": "fail", "strict": "fail"}
    shown = xops("gate", "show", "last", "gated", "--json").data
    assert shown["record"]["checks"][0]["detail"] == "the gate was told to fail"
    assert xops("run", "start", "last", "--until", "after").code == 3
    assert xops("gate", "waive", "last", "gated", "--why", "known").code == 2  # nobody can be asked
    assert xops("gate", "waive", "last", "gated", "--why", " ", "--yes").code == 2
    assert xops("gate", "waive", "last", "strict", "--why", "known", "--yes").code == 3
    assert xops("gate", "waive", "last", "gated", "--why", "known", "--yes").code == 0
    assert xops("run", "start", "last", "--until", "after").code == 0
    assert xops("run", "wait", "last", "--stage", "after").code == 0


def test_the_handover_note_names_what_waits_for_a_person(xops: Xops) -> None:
    run = new(xops, "quick", "--set", "quick.act=fails")
    xops("run", "start", run)
    xops("run", "wait", run)
    note = xops("handover").out
    assert "needs a person: " in note
    assert "host beta does not answer" in note
    (told,) = xops("handover", "--json").data["runs"]
    assert told["snapshot"]["needs_human"][0]["stage"] == "quick"


def test_a_signature_opens_a_gate_that_waits_for_a_person(xops: Xops) -> None:
    new(xops, "gates", "--set", "gated.gate=sign", "--set", "strict.gate=pass")
    xops("run", "start", "last")
    assert xops("run", "wait", "last").code == 3
    assert xops("gate", "sign", "last", "gated", "--why", "seen", "--evidence", "0" * 32).code == 3
    digest = xops("gate", "show", "last", "gated", "--json").data["digest"]
    assert xops("gate", "sign", "last", "gated", "--why", "seen", "--evidence", digest).code == 0
    assert xops("run", "start", "last").code == 0
    assert xops("run", "wait", "last").code == 0
    handover = xops("handover", "last")
    assert "sign gated -> ok" in handover.out
    assert "done: a, gated, strict, after" in handover.out


def test_a_run_from_another_does_nothing_twice(xops: Xops, tmp_path: Path) -> None:
    first = new(xops, "chain")
    xops("run", "start", first)
    xops("run", "wait", first)
    second = new(xops, "--from", first, "--set", "c.value=w")
    steps = {s["stage"]: s["action"] for s in xops("run", "plan", second, "--json").data["steps"]}
    assert steps == {"a": "take_over", "b": "take_over", "c": "start"}
    xops("run", "start", second)
    assert xops("run", "wait", second).code == 0
    assert (tmp_path / "runs" / second / "stages" / "c" / "out" / "value.txt").read_text() == "v+v+w"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "show", "nope"], 5, "xops run ls"),
        (["run", "new", "nope"], 5, "one of: chain"),
        (["run", "new"], 2, "one of: chain"),
        (["run", "new", "chain", "--set", "a.valu=1"], 2, "did you mean value"),
        (["run", "new", "chain", "--set", "value=1"], 2, "stage.parameter=value"),
        (["run", "new", "chain", "--set", "a.items=many"], 2, "items"),
        (["run", "new", "chain", "--kind", "best"], 2, "pilot"),
        (["run", "new", "chain", "--name", "x", "--shards", "a=2"], 2, "cannot be split"),
        (["run", "nothing"], 2, "nothing"),
        (["nothing"], 2, "nothing"),
        (["stage", "log", "last", "a"], 5, "no run"),
        (["config", "show", "--frobnicate"], 2, "frobnicate"),
    ],
)
def test_mistakes(xops: Xops, arguments: list[str], code: int, told: str) -> None:
    answer = xops(*arguments)
    assert answer.code == code
    assert answer.out == ""
    assert told in answer.err


def test_without_a_workspace_the_way_to_one_is_told(xops: Xops, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "xops.toml").unlink()
    elsewhere.mkdir()
    answer = xops("run", "ls", cwd=elsewhere)
    assert answer.code == 5
    assert "xops init" in answer.err
    assert xops("init", cwd=elsewhere).code == 0
    assert xops("run", "ls", cwd=elsewhere).code == 0
    assert xops("init", cwd=elsewhere).code == 2


def test_a_run_of_a_newer_version_is_listed_with_the_reason(xops: Xops, tmp_path: Path) -> None:
    run = new(xops, "chain")
    request = tmp_path / "runs" / run / "run.toml"
    request.chmod(0o644)
    request.write_text(request.read_text().replace("schema = 1", "schema = 99"))
    (row,) = xops("run", "ls", "--json").data["runs"]
    assert "newer xops" in row["problem"]
    assert xops("run", "show", run).code == 2
    assert xops("handover").code == 0


def test_the_journal_has_every_command(xops: Xops, tmp_path: Path) -> None:
    run = new(xops, "quick")
    xops("run", "start", run)
    xops("run", "wait", run)
    xops("run", "cancel", run)
    lines = [
        json.loads(line) for line in (tmp_path / "runs" / run / "journal.jsonl").read_text().splitlines()
    ]
    assert [line["verb"] for line in lines] == ["new", "start", "cancel"]
    assert "nothing of" in lines[-1]["result"]

"""From request to published outputs: the stage process, its inputs, its gate and its errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab import Lab, wait_for

from pipeline.engine.decisions import sign, waive
from pipeline.engine.errors import BusyError, GateError, NotReadyError, UsageError, WaitTimedOutError
from pipeline.engine.fingerprint import sha256_of
from pipeline.engine.gates import Verdict
from pipeline.engine.journal import read_journal
from pipeline.engine.operations import cancel, invalidate, start, wait
from pipeline.engine.outputs import read_outputs
from pipeline.engine.state import StageState
from pipeline.engine.status import read_run


def test_outputs_are_listed_with_their_hashes_and_written_last(lab: Lab) -> None:
    run = lab.new(a={"value": "x"})
    assert lab.finish(run, "a").outcome == "done"
    paths = run.stage("a")
    outputs = read_outputs(paths.outputs)
    assert outputs is not None
    listed = {file.path: (file.size, file.sha256) for file in outputs.out.files}
    assert listed["value.txt"] == (1, sha256_of(paths.out / "value.txt"))
    assert paths.outputs.stat().st_mtime_ns >= max(p.stat().st_mtime_ns for p in paths.out.iterdir())
    assert not list(paths.root.glob("out.*.tmp"))
    assert [e["event"] for e in lab.events(paths.progress)][-1] == "complete"


def test_big_artefacts_elsewhere_are_listed_too(lab: Lab) -> None:
    run = lab.new(a={"act": "external"})
    lab.finish(run, "a")
    outputs = read_outputs(run.stage("a").outputs)
    assert outputs is not None
    assert [(a.role, [f.path for f in a.files]) for a in outputs.artefacts] == [
        ("data_root", ["episode.bin"])
    ]


def test_a_stage_reads_what_the_one_before_it_published(lab: Lab) -> None:
    run = lab.new(a={"value": "1"}, b={"value": "2"}, c={"value": "3"})
    start(run, lab.registry)
    wait_for(lambda: lab.state(run, "c") is StageState.SUCCEEDED, "the end of the chain")
    assert (run.stage("c").out / "value.txt").read_text() == "1+2+3"


@pytest.mark.parametrize(
    ("act", "message", "hint"),
    [
        ("fails", "host beta does not answer", "ssh beta true"),
        ("crashes", "a defect in the stage: ZeroDivisionError: 1/0", "stdout.log"),
        ("out_of_space", "no room left to write", "free space"),
    ],
)
def test_an_error_is_one_message_and_a_hint(lab: Lab, act: str, message: str, hint: str) -> None:
    run = lab.new(a={"act": act})
    record = lab.finish(run, "a")
    assert record.outcome == "failed"
    assert message in record.message
    assert hint in record.hint
    assert "Traceback" not in record.message
    assert "Traceback" in run.stage("a").attempt(1).stdout.read_text()
    assert lab.status(run, "a").reason == record.message
    last = lab.events(run.stage("a").events)[-1]
    assert (last["event"], last["message"]) == ("stage_failed", record.message)
    assert not run.stage("a").outputs.exists()


def test_a_failure_belongs_to_its_attempt(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 1})
    paths = run.stage("a")
    lab.start(run, "a")
    lab.paused(paths)
    cancel(run, lab.registry, "a")
    lab.ended(paths)
    lab.release(paths)
    lab.finish(run, "a")
    status = lab.status(run, "a")
    assert [attempt.outcome for attempt in status.attempts] == ["cancelled", "done"]
    assert status.state is StageState.SUCCEEDED
    assert status.reason == ""


def test_a_stage_is_not_started_before_what_it_needs(lab: Lab) -> None:
    run = lab.new()
    with pytest.raises(NotReadyError, match="b is blocked: it needs a, which is ready"):
        lab.start(run, "b")
    assert lab.state(run, "b") is StageState.BLOCKED


def test_a_finished_stage_is_not_done_again_unless_invalidated(lab: Lab) -> None:
    run = lab.new(a={"value": "x"})
    lab.finish(run, "a")
    with pytest.raises(NotReadyError, match="done already"):
        lab.start(run, "a")
    assert invalidate(run, lab.registry, "a", dry_run=True).dry_run
    assert lab.state(run, "a") is StageState.SUCCEEDED
    invalidate(run, lab.registry, "a")
    aside = run.stage("a").attempt(1).superseded
    assert (aside / "out" / "value.txt").read_text() == "x"
    assert (aside / "outputs.json").exists()
    assert lab.finish(run, "a").outcome == "done"
    assert [a.number for a in lab.status(run, "a").attempts] == [1, 2]


def test_a_running_stage_cannot_be_invalidated(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 1})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    with pytest.raises(BusyError, match="held by"):
        invalidate(run, lab.registry, "a")


def test_changed_inputs_make_outputs_stale_and_say_which(lab: Lab, tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    given.write_text("1")
    run = lab.new(a={"reads": str(given)})
    lab.finish(run, "a")
    lab.finish(run, "b")
    given.touch()
    assert lab.state(run, "a") is StageState.SUCCEEDED, "the content is what counts"
    given.write_text("2")
    stale = lab.status(run, "a")
    assert stale.state is StageState.STALE
    assert stale.stale_because == ("input given: . changed",)
    assert lab.state(run, "b") is StageState.SUCCEEDED, "its own inputs are a's outputs, still the same"
    lab.finish(run, "a")
    assert lab.state(run, "a") is StageState.SUCCEEDED
    assert lab.state(run, "b") is StageState.SUCCEEDED, "a gave the same outputs again"


def test_work_for_another_question_is_not_continued(lab: Lab, tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    given.write_text("1")
    run = lab.new(a={"reads": str(given), "pause_at": 3})
    paths = run.stage("a")
    lab.start(run, "a")
    lab.paused(paths)
    cancel(run, lab.registry, "a")
    lab.ended(paths)
    given.write_text("2")
    lab.release(paths)
    lab.finish(run, "a")
    assert "work_set_aside" in [e["event"] for e in lab.events(paths.progress)]
    assert (paths.attempt(1).superseded / "work" / "done.txt").exists()
    assert (paths.out / "items.txt").read_text().split() == [str(item) for item in range(10)]


class TestGates:
    """A gate opens by passing, by a waiver or by a signature, each bound to its evidence."""

    def test_a_failed_gate_blocks_what_follows_until_waived_with_a_reason(self, lab: Lab) -> None:
        run = lab.new("gates", gated={"gate": "fail"}, strict={"gate": "pass"})
        lab.finish(run, "a")
        assert lab.finish(run, "gated").outcome == "done"
        status = lab.status(run, "gated")
        assert (status.state, status.verdict) == (StageState.SUCCEEDED, Verdict.FAIL)
        assert lab.status(run, "after").waits_for == ("gate of gated (fail)",)
        with pytest.raises(GateError, match="the gate of gated says fail"):
            lab.start(run, "after")
        with pytest.raises(UsageError, match="a reason is required"):
            waive(run, lab.registry, "gated", why=" ")
        waive(run, lab.registry, "gated", why="one bad session, known")
        assert lab.status(run, "gated").verdict is Verdict.WAIVED
        assert lab.finish(run, "after").outcome == "done"

    def test_a_gate_of_safety_cannot_be_waived(self, lab: Lab) -> None:
        run = lab.new("gates", strict={"gate": "fail"})
        lab.finish(run, "a")
        lab.finish(run, "strict")
        with pytest.raises(GateError, match="cannot be waived"):
            waive(run, lab.registry, "strict", why="please")
        assert lab.status(run, "strict").verdict is Verdict.FAIL

    def test_a_waiver_does_not_cover_other_evidence(self, lab: Lab) -> None:
        run = lab.new("gates", gated={"gate": "fail"})
        lab.finish(run, "a")
        lab.finish(run, "gated")
        waive(run, lab.registry, "gated", why="known")
        gate = json.loads(run.stage("gated").gate.read_text())
        gate["checks"][0]["evidence"]["items"] = 11
        run.stage("gated").gate.write_text(json.dumps(gate))
        assert lab.status(run, "gated").verdict is Verdict.FAIL

    def test_a_person_signs_for_what_was_seen(self, lab: Lab) -> None:
        run = lab.new("gates", gated={"gate": "sign"})
        lab.finish(run, "a")
        lab.finish(run, "gated")
        status = lab.status(run, "gated")
        assert status.verdict is Verdict.UNSIGNED
        assert status.gate is not None
        with pytest.raises(GateError, match="not what was looked at"):
            sign(run, lab.registry, "gated", why="looked", evidence="0" * 32)
        sign(
            run,
            lab.registry,
            "gated",
            why="categories are balanced",
            evidence=status.gate.digest,
            who="ann@x",
        )
        signed = lab.status(run, "gated")
        assert signed.verdict is Verdict.PASS
        assert signed.gate is not None
        assert [(d.who, d.why) for d in signed.gate.decisions] == [("ann@x", "categories are balanced")]

    def test_a_declared_gate_without_checks_fails(self, lab: Lab) -> None:
        run = lab.new("gates", gated={"gate": ""})
        lab.finish(run, "a")
        lab.finish(run, "gated")
        assert lab.status(run, "gated").verdict is Verdict.FAIL


class TestTakingOver:
    """A run made from another reuses what asks the same question, by reference."""

    def test_only_what_changed_is_done_again(self, lab: Lab) -> None:
        first = lab.new(a={"value": "1"}, b={"value": "2"}, c={"value": "3"})
        start(first, lab.registry)
        wait_for(lambda: lab.state(first, "c") is StageState.SUCCEEDED, "the first run")
        second = lab.new("", source=first.run_id, c={"value": "9"})
        start(second, lab.registry)
        wait_for(lambda: lab.state(second, "c") is StageState.SUCCEEDED, "the second run")
        assert lab.status(second, "a").taken_from == first.run_id
        assert lab.status(second, "b").taken_from == first.run_id
        assert not second.stage("b").out.exists()
        assert (second.stage("c").out / "value.txt").read_text() == "1+2+9"

        third = lab.new("", source=second.run_id, c={"value": "8"})
        statuses = read_run(third, lab.registry)
        assert statuses.stage("a").can_take_from == first.run_id, (
            "the run that made it, not the one in between"
        )

    def test_a_run_that_asks_nothing_new_is_done_at_once(self, lab: Lab) -> None:
        first = lab.new()
        start(first, lab.registry)
        wait(first, lab.registry, timeout_s=60)
        second = lab.new("", source=first.run_id)
        dry = start(second, lab.registry, dry_run=True)
        assert [step.action for step in dry.steps] == ["take_over"] * 3
        assert not second.stage("a").root.exists()
        act = start(second, lab.registry)
        assert (act.handoffs, act.conductor) == ((), None)
        assert all(
            stage.done and stage.taken_from == first.run_id for stage in read_run(second, lab.registry).stages
        )

    def test_a_split_stage_is_taken_over_shard_by_shard(self, lab: Lab) -> None:
        first = lab.new("shards", split={"shards": 2})
        start(first, lab.registry)
        wait(first, lab.registry, timeout_s=60)
        second = lab.new("", source=first.run_id, merge={"value": "new"})
        start(second, lab.registry)
        wait(second, lab.registry, timeout_s=60)
        assert [part.taken_from for part in lab.status(second, "split").shards] == [first.run_id] * 2
        assert (second.stage("merge").out / "value.txt").read_text().endswith("+new")

    def test_what_is_gone_is_stale_and_can_be_done_here(self, lab: Lab) -> None:
        first = lab.new()
        lab.finish(first, "a")
        second = lab.new("", source=first.run_id)
        start(second, lab.registry, only=["a"])
        invalidate(first, lab.registry, "a")
        status = lab.status(second, "a")
        assert status.state is StageState.STALE
        assert first.run_id in status.reason
        assert lab.finish(second, "a").outcome == "done"
        assert lab.status(second, "a").taken_from == ""

    def test_another_dataset_is_another_question(self, lab: Lab) -> None:
        first = lab.new()
        lab.finish(first, "a")
        second = lab.new("", source=first.run_id)
        text = second.request.read_text().replace('revision = ""', 'revision = "abc"')
        os.chmod(second.request, 0o644)
        second.request.write_text(text)
        assert lab.status(second, "a").can_take_from == ""

    def test_requests_that_name_each_other_do_not_hang(self, lab: Lab) -> None:
        first = lab.new()
        second = lab.new("", source=first.run_id)
        os.chmod(first.request, 0o644)
        first.request.write_text(first.request.read_text().replace('from = ""', f'from = "{second.run_id}"'))
        assert lab.state(second, "a") is StageState.READY


class TestShards:
    """A split stage is as far as its shards; each resumes by itself."""

    def test_strides_cover_every_item_once(self, lab: Lab) -> None:
        run = lab.new("shards", split={"shards": 3, "items": 10})
        lab.finish(run, "a")
        act = lab.start(run, "split")
        assert [handoff.shard for handoff in act.handoffs] == [0, 1, 2]
        wait_for(lambda: lab.state(run, "split") is StageState.SUCCEEDED, "all shards")
        status = lab.status(run, "split")
        done = sorted(int(i) for out in status.out for i in (Path(out) / "items.txt").read_text().split())
        assert done == list(range(10))
        lab.finish(run, "merge")
        assert (run.stage("merge").out / "value.txt").read_text() == "v+v+v+v+v+v+v"

    def test_only_the_missing_shard_is_started_again(self, lab: Lab) -> None:
        run = lab.new("shards", split={"shards": 3, "items": 9, "pause_at": 4})
        lab.finish(run, "a")
        lab.start(run, "split")
        shards = [run.stage("split").shard(k) for k in range(3)]
        wait_for(lambda: shards[0].outputs.exists() and shards[2].outputs.exists(), "shards 0 and 2")
        lab.paused(shards[1])
        cancel(run, lab.registry, "split", shards=[1])
        lab.ended(shards[1])
        assert lab.state(run, "split") is StageState.CANCELLED
        lab.release(shards[1])
        act = lab.start(run, "split")
        assert [handoff.shard for handoff in act.handoffs] == [1]
        assert next(s for s in act.steps if s.stage == "split").reuses == "2 of 3 shards"
        wait_for(lambda: lab.state(run, "split") is StageState.SUCCEEDED, "all shards")
        assert (shards[1].out / "items.txt").read_text().split() == ["1", "4", "7"]


def test_a_runaway_stdout_is_cut_in_the_middle(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE_STDOUT_LIMIT", str(1 << 20))
    run = lab.new(a={"act": "prints"})
    lab.start(run, "a")
    stdout = run.stage("a").attempt(1).stdout
    wait_for(lambda: stdout.exists() and b"bytes cut out" in stdout.read_bytes(), "the cut")
    lab.release(run.stage("a"))
    record = lab.ended(run.stage("a"))
    assert record.stdout_dropped > 0
    text = stdout.read_text()
    assert text.startswith("first line")
    assert text.endswith("last line\n")


def test_no_secret_of_the_environment_is_written(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecretvalue")
    monkeypatch.setenv("CUDA_API_KEY", "hf_verysecretvalue")
    monkeypatch.setattr("sys.argv", ["xops", "run", "start", "--token", "hf_verysecretvalue"])
    run = lab.new()
    lab.finish(run, "a")
    assert "PATH" in json.loads(run.stage("a").attempt(1).env.read_text())
    for path in run.root.rglob("*"):
        if path.is_file():
            assert b"verysecret" not in path.read_bytes(), path


def test_waiting_has_a_limit_and_what_is_waited_for_goes_on(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 1})
    lab.start(run, "a")
    process = lab.paused(run.stage("a"))
    with pytest.raises(WaitTimedOutError, match=r"a of run .* still at work after 0 s"):
        wait(run, lab.registry, timeout_s=0)
    assert process.main.alive()


def test_a_chain_that_is_conducted_already_is_not_conducted_twice(lab: Lab) -> None:
    run = lab.new(a={"pause_at": 1})
    start(run, lab.registry, until="b")
    lab.paused(run.stage("a"))
    with pytest.raises(BusyError, match="a is running: held by pid"):
        start(run, lab.registry)


def test_the_journal_tells_who_did_what(lab: Lab) -> None:
    run = lab.new()
    start(run, lab.registry, only=["a"], who="ann@x")
    lab.ended(run.stage("a"))
    with pytest.raises(NotReadyError):
        cancel(run, lab.registry, "a", dry_run=True)
    with pytest.raises(NotReadyError):
        cancel(run, lab.registry, "a", who="bob@y")
    lines = [(line.who, line.verb, line.stage, line.result) for line in read_journal(run)]
    assert lines[1:] == [
        ("ann@x", "start", "a", "ok"),
        ("bob@y", "cancel", "a", "nothing of a is running"),
    ]
    assert lines[0][1] == "new"


LOADED = """
import sys
import pipeline.engine.supervise
print([name for name in ("msgspec", "psutil", "asyncio") if name in sys.modules])
"""


def test_the_supervisor_loads_the_standard_library_only() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

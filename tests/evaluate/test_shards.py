"""Every held-out row is answered exactly once, whoever dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from by_rule import ACTIONS, Rule, shard_of, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.errors import CancelledByOperatorError, DamagedFileError, UsageError
from pipeline.evaluate.leases import RowLeases
from pipeline.evaluate.merge import issues, merge_shards, publish_merged
from pipeline.evaluate.predictions import PARTIAL_FILE, Answered, PartialFile, read_partial
from pipeline.evaluate.rows import read_eval_rows
from pipeline.metrics.options import DatasetFacts, read_dataset_facts


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def publish(work: Path, out: Path, shards: int) -> list[Path]:
    folders = []
    for k in range(shards):
        folder = out / f"{k:02d}" / "out"
        folder.mkdir(parents=True)
        data = (work / f"{k:02d}" / PARTIAL_FILE).read_bytes()
        (folder / "predictions.jsonl").write_bytes(data)
        folders.append(folder)
    return folders


def test_a_shard_does_its_stride_first_and_then_helps(root: Path, tmp_path: Path) -> None:
    told, rule = Told(), Rule()
    rows = shard_of(root, tmp_path / "w", 1, 2, rule, told).run()
    assert len(rows) == 24
    assert rule.asked[:12] == [f"test:{index}" for index in range(4, 27, 2)]
    assert len(told.of("row_absorbed")) == 12
    assert told.of("eval_start")[0]["num_eval_samples"] == 12
    assert told.of("running_metrics")[-1]["accuracy"] == 1.0
    assert told.of("running_metrics")[-1]["baseline_accuracy"] == pytest.approx(1 / 3)


def test_two_shards_one_killed_give_every_row_once(root: Path, tmp_path: Path) -> None:
    work = tmp_path / "w"
    program = str(Path(__file__).parent / "shard_program.py")
    command = [sys.executable, program, str(root), str(work)]
    victim = subprocess.Popen([*command, "1", "2", "0.3"])
    partial = work / "01" / PARTIAL_FILE
    while not partial.exists() or partial.stat().st_size == 0:
        assert victim.poll() is None
        time.sleep(0.02)
    survivor = subprocess.Popen([*command, "0", "2", "0.02"])
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert survivor.wait(60) == 0
    again = subprocess.run([*command, "1", "2", "0.3"], check=False, timeout=60)
    assert again.returncode == 0
    merged = merge_shards(publish(work, tmp_path / "out", 2), read_eval_rows(root / "dataset.jsonl"))
    assert issues(merged) == []
    assert len(merged.rows) == 24
    assert [row["id"] for row in merged.rows] == [f"test:{index}" for index in range(3, 27)]
    assert len({row["shard"] for row in merged.rows}) == 2


def test_a_bad_sample_is_a_row_with_its_reason_and_not_the_end(root: Path, tmp_path: Path) -> None:
    told = Told()
    rule = Rule(broken=("test:5",), torn=("test:9",))
    rows = shard_of(root, tmp_path / "w", 0, 1, rule, told).run()
    assert len(rows) == 24
    (bad,) = [row for row in rows if row["finish"] == "error"]
    assert bad["id"] == "test:5"
    assert bad["error"] == {"type": "OSError", "message": "its clip is gone"}
    assert bad["correct"] == 0
    assert rule.asked.count("test:5") == 2, "asked again before it was given up"
    assert told.of("sample_error")[0]["sample_id"] == "test:5"


def test_questions_that_failed_are_asked_again_by_the_next_attempt(root: Path, tmp_path: Path) -> None:
    calls = iter(range(100))

    def stop() -> None:
        if next(calls) == 3:
            raise CancelledByOperatorError("stopped")

    broken = Rule(broken=("test:3", "test:7"))
    with pytest.raises(CancelledByOperatorError):
        shard_of(root, tmp_path / "w", 0, 2, broken, Told(), check_cancelled=stop).run()
    other = Rule()
    shard_of(root, tmp_path / "w", 1, 2, other, Told()).run()
    assert "test:3" not in other.asked, "while its shard lives, an error is an answer"
    rule, told = Rule(), Told()
    rows = shard_of(root, tmp_path / "w", 0, 2, rule, told).run()
    assert told.of("eval_start")[0]["failed_before_start"] == 2
    assert rule.asked == ["test:3", "test:7"]
    assert not any(row["finish"] == "error" for row in rows)
    merged = merge_shards(publish(tmp_path / "w", tmp_path / "o", 2), read_eval_rows(root / "dataset.jsonl"))
    assert merged.missing == ()


def test_a_withdrawn_row_does_not_hide_another_shards_answer(tmp_path: Path) -> None:
    files = [tmp_path / "answers.jsonl", tmp_path / "withdraws.jsonl"]
    failed = {"id": "r", "identity": "x", "finish": "error"}
    with PartialFile(files[0]) as answers, PartialFile(files[1]) as withdraws:
        seen = Answered(files, "x")
        withdraws.add(failed)
        assert seen.refresh() == {"r"}
        withdraws.add(failed | {"finish": "withdrawn"})
        assert seen.refresh() == set()
        answers.add(failed | {"finish": "stop"})
        assert seen.refresh() == {"r"}
    assert Answered(files, "x").refresh() == {"r"}, "whichever file is read first"


def test_a_cancelled_shard_keeps_what_it_has_and_goes_on(root: Path, tmp_path: Path) -> None:
    calls = iter(range(100))

    def stop() -> None:
        if next(calls) == 3:
            raise CancelledByOperatorError("stopped")

    with pytest.raises(CancelledByOperatorError):
        shard_of(root, tmp_path / "w", 0, 1, Rule(), Told(), check_cancelled=stop).run()
    rule, told = Rule(), Told()
    rows = shard_of(root, tmp_path / "w", 0, 1, rule, told).run()
    assert len(rows) == 24
    assert len(rule.asked) == 12
    assert told.of("eval_start")[0]["completed_before_start"] == 12
    assert told.of("eval_start")[0]["resume"] is True


def test_answers_of_another_model_are_not_taken_over(root: Path, tmp_path: Path) -> None:
    shard_of(root, tmp_path / "w", 0, 1, Rule(), Told()).run()
    other, told = Rule(), Told()
    other.identity = {"adapter": "another", "prompt": "p"}
    rows = shard_of(root, tmp_path / "w", 0, 1, other, told).run()
    assert len(other.asked) == 24
    assert told.of("eval_start")[0]["rows_of_other_models"] == 24
    assert len({row["identity"] for row in rows}) == 1


def test_a_lease_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "rows.lease"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys,time\nfrom pathlib import Path\nfrom pipeline.evaluate.leases import RowLeases\n"
            f"lease = RowLeases(Path({str(path)!r}))\nprint(lease.take(range(3), 3), flush=True)\n"
            "time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"[0, 1, 2]\n"
    with RowLeases(path) as leases:
        assert leases.take(range(5), 5) == [3, 4]
        holder.kill()
        holder.wait()
        assert leases.take(range(3), 5) == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), extra=st.binary(max_size=20))
def test_a_partial_file_torn_anywhere_loses_at_most_its_last_row(
    tmp_path_factory: pytest.TempPathFactory, cut: int, extra: bytes
) -> None:
    path = tmp_path_factory.mktemp("p") / PARTIAL_FILE
    with PartialFile(path) as file:
        for index in range(5):
            file.add({"id": f"r{index}", "identity": "x", "text": "y" * 40})
    data = path.read_bytes()
    kept = data[: max(0, len(data) - cut)]
    path.write_bytes(kept + extra.replace(b"\n", b" "))
    whole = kept.count(b"\n")
    ids = list(read_partial(path, "x").rows)
    assert ids[:whole] == [f"r{index}" for index in range(whole)]
    assert len(ids) <= whole + 1
    with PartialFile(path) as file:
        file.add({"id": "new", "identity": "x"})
    assert list(read_partial(path, "x").rows)[-1] == "new"
    assert "new" in Answered([path], "x").refresh()


def rows_file(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "out").mkdir(parents=True)
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    (folder / "out" / "predictions.jsonl").write_bytes(lines)
    return folder / "out"


def test_a_merge_names_everything_that_is_wrong(root: Path, tmp_path: Path) -> None:
    good = shard_of(root, tmp_path / "w", 0, 1, Rule(), Told()).run()
    asked = read_eval_rows(root / "dataset.jsonl")
    foreign = good[0] | {"id": "train:0"}
    stranger = good[0] | {"id": "nobody"}
    mixed = good[5] | {"identity": "other"}
    one = rows_file(tmp_path / "a", [*good[:5], mixed, foreign, stranger])
    two = rows_file(tmp_path / "b", [good[0], *good[6:20]])
    with (two / "predictions.jsonl").open("ab") as stream:
        stream.write(b'{"torn')
    merged = merge_shards([one, two], asked)
    assert merged.duplicates == (good[0]["id"],)
    assert set(merged.unknown) == {"train:0", "nobody"}
    assert merged.unknown["train:0"] == "train"
    assert len(merged.identities) == 2
    assert len(merged.missing) == 4
    assert merged.torn == ("b/predictions.jsonl:16",)
    assert len(issues(merged)) == 5


def test_metrics_are_computed_from_rows_and_say_what_they_cover(root: Path, tmp_path: Path) -> None:
    rows = shard_of(root, tmp_path / "w", 0, 1, Rule(broken=("test:5",)), Told()).run()
    asked = read_eval_rows(root / "dataset.jsonl")
    lying = [row | {"correct": 0, "predicted_label": "nonsense", "pred_json": {}} for row in rows]
    merged = merge_shards([rows_file(tmp_path / "a", lying)], asked)
    metrics = publish_merged(
        merged,
        tmp_path,
        facts=read_dataset_facts(root / "dataset_manifest.json"),
        asked=asked,
        run_id="r",
        shard_dirs=["a"],
        resamples=50,
        full_matrix=False,
        extra={},
    )
    assert metrics["accuracy"] == 23 / 24
    assert metrics["json_validity_rate"] == 23 / 24
    assert metrics["coverage"]["expected_eval_samples"] == 24
    assert metrics["error_rows"] == ["test:5"]
    assert metrics["baselines"]["parity"]["accuracy"] == pytest.approx(1 / 3)
    table = (tmp_path / "confusion_matrix.csv").read_text().splitlines()
    assert table[0].startswith("true\\pred,cut,pour,wipe")
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert stored["accuracy"] == metrics["accuracy"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("{broken", DamagedFileError),
        ('{"id":"x","split":"test"}', DamagedFileError),
        ("[1]", DamagedFileError),
    ],
)
def test_a_dataset_line_that_is_no_row_is_named(tmp_path: Path, line: str, kind: type[Exception]) -> None:
    root = write_dataset(tmp_path / "d", train=1, test=1)
    with (root / "dataset.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(kind, match=r"dataset\.jsonl:3"):
        read_eval_rows(root / "dataset.jsonl")


def test_a_split_without_rows_is_an_error_and_a_limit_is_spread(root: Path) -> None:
    with pytest.raises(UsageError, match="no row of the val split"):
        read_eval_rows(root / "dataset.jsonl", "val")
    few = read_eval_rows(root / "dataset.jsonl", limit=4)
    assert [row["id"] for row in few.rows] == ["test:3", "test:9", "test:15", "test:21"]
    assert few.vocabulary.actions == ACTIONS
    assert isinstance(DatasetFacts(options=()), DatasetFacts)

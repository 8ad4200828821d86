"""The journal has one whole line per command, and no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine.errors import GateError
from pipeline.engine.journal import HIDDEN, journalled, read_journal, redact
from pipeline.engine.paths import RunPaths


def test_success_and_refusal_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["xops", "gate", "waive", "r", "audit"])
    run = RunPaths(tmp_path)
    with journalled(run, "start", stage="a", who="ann@x") as detail:
        detail["attempt"] = 1
    with pytest.raises(GateError), journalled(run, "waive", stage="audit"):
        raise GateError("cannot be waived")
    first, second = read_journal(run)
    assert (first.who, first.verb, first.stage, first.result, first.detail) == (
        "ann@x",
        "start",
        "a",
        "ok",
        {"attempt": 1},
    )
    assert (second.result, second.argv) == ("cannot be waived", ("xops", "gate", "waive", "r", "audit"))
    assert second.who.endswith(f"@{os.uname().nodename}")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (["--token", "abc"], ["--token", HIDDEN]),
        (["--hub-token=abc"], [f"--hub-token={HIDDEN}"]),
        (["--password", "--abc", "x"], ["--password", HIDDEN, "x"]),
        (["HF_TOKEN=abc"], [f"HF_TOKEN={HIDDEN}"]),
        (["say", "hf_abcdefgh12"], ["say", HIDDEN]),
        (["https://me:pw@host/x"], [f"https://{HIDDEN}@host/x"]),
        (["--stage", "keyframes", "audit"], ["--stage", "keyframes", "audit"]),
    ],
)
def test_credentials_are_hidden(typed: list[str], shown: list[str]) -> None:
    assert redact(typed) == tuple(shown)


def test_a_secret_in_a_reason_is_hidden_too(tmp_path: Path) -> None:
    with journalled(RunPaths(tmp_path), "waive") as detail:
        detail["why"] = "because hf_abcdefgh1234 works"
    assert "hf_abc" not in (tmp_path / "journal.jsonl").read_text()


WRITER = """
import sys
from pathlib import Path
from pipeline.engine.journal import journalled
from pipeline.engine.paths import RunPaths
for i in range(50):
    with journalled(RunPaths(Path(sys.argv[1])), "start", stage="x" * 3000) as detail:
        detail["i"] = i
"""


def test_four_consoles_write_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"torn')
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    lines = read_journal(RunPaths(tmp_path))
    assert sorted(line.detail["i"] for line in lines) == sorted([*range(50)] * 4)

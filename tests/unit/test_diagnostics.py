"""What an operator sees of a defect: one line and where the details are, never a traceback."""

from __future__ import annotations

import errno

import pytest

from console.diagnostics import guarded


def test_a_defect_is_one_line_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise ValueError("bad hf_abcdefghijklmnopqrstuvwxyz \x1b[31mvalue")

    assert guarded(command) == 70
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ValueError" in told
    assert "hf_abcdef" not in told
    assert "\x1b" not in told
    assert "Traceback" not in told


def test_a_full_disk_and_a_denied_path_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    def denied() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/y")

    assert guarded(full) == 74
    assert guarded(denied) == 77
    told = capsys.readouterr().err
    assert "/data/x" in told
    assert "/data/y" in told


def test_an_interrupted_command_says_that_runs_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    assert guarded(command) == 130
    assert "keeps running" in capsys.readouterr().err

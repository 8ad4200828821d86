"""Exit codes are an interface of scripts: changing one breaks them, so they are frozen here."""

from __future__ import annotations

import pytest

from pipeline.engine import errors
from pipeline.engine.errors import ExitCode, XopsError

FROZEN = {
    "OK": 0,
    "STAGE_FAILED": 1,
    "USAGE": 2,
    "GATE_NOT_PASSED": 3,
    "NOT_READY": 4,
    "NOT_FOUND": 5,
    "UNREACHABLE": 69,
    "SOFTWARE": 70,
    "IO": 74,
    "BUSY": 75,
    "NO_PERMISSION": 77,
    "TIMED_OUT": 124,
    "INTERRUPTED": 130,
    "TERMINATED": 143,
}


def test_numbers_do_not_change() -> None:
    assert {code.name: code.value for code in ExitCode} == FROZEN


def test_every_error_has_a_code_of_its_own_meaning() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, XopsError)]
    assert all(isinstance(kind.exit_code, ExitCode) for kind in kinds)
    assert all(kind.exit_code is not ExitCode.OK for kind in kinds)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.GateError("x"), 3),
        (errors.NotReadyError("x"), 4),
        (errors.NotFoundError("x"), 5),
        (errors.UnreachableError("x"), 69),
        (errors.BusyError("x"), 75),
        (errors.NoPermissionError("x"), 77),
        (errors.WaitTimedOutError("x"), 124),
    ],
)
def test_a_command_that_raises_ends_with_the_code(
    error: XopsError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from console.diagnostics import guarded

    def command() -> None:
        raise error

    assert guarded(command) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err

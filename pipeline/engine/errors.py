"""Errors an operator may see, and the exit codes scripts rely on.

Every error names what happened, to which file, host or row, and the next command to type. Front ends
print `str(error)` and `error.hint`; a traceback never reaches an operator. The numbers of `ExitCode`
are an interface: `tests/unit/test_exit_codes.py` freezes them.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every `xops` command (sysexits.h numbers where one fits)."""

    OK = 0
    STAGE_FAILED = 1
    USAGE = 2
    GATE_NOT_PASSED = 3
    NOT_READY = 4
    NOT_FOUND = 5
    UNREACHABLE = 69
    SOFTWARE = 70
    IO = 74
    BUSY = 75
    NO_PERMISSION = 77
    TIMED_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


class XopsError(Exception):
    """Base of all errors with a message meant for an operator.

    Args:
        message: what happened, to what, in one or two sentences.
        hint: the next command to type or thing to change, without a trailing full stop.
    """

    exit_code: ExitCode = ExitCode.SOFTWARE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(XopsError):
    """The command or the configuration asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A configuration file or a stage parameter is not valid."""


class StageFailedError(XopsError):
    """A stage attempt ended with a failure of its own."""

    exit_code = ExitCode.STAGE_FAILED


class GateError(XopsError):
    """A gate has not passed and nobody waived it."""

    exit_code = ExitCode.GATE_NOT_PASSED


class NotReadyError(XopsError):
    """A stage this one needs has not succeeded yet."""

    exit_code = ExitCode.NOT_READY


class NotFoundError(XopsError):
    """A run, stage, gate, episode or file that was named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class UnreachableError(XopsError):
    """A host or the Hub cannot be reached now."""

    exit_code = ExitCode.UNREACHABLE


class BusyError(XopsError):
    """Somebody else holds the claim, lock or lease."""

    exit_code = ExitCode.BUSY


class NoPermissionError(XopsError):
    """Access is denied: no token, a wrong one, or a gate still pending."""

    exit_code = ExitCode.NO_PERMISSION


class WaitTimedOutError(XopsError):
    """The operator's own time limit on waiting ran out; what was waited for goes on."""

    exit_code = ExitCode.TIMED_OUT


class DiskFullError(XopsError):
    """A file system has no room (or no inodes) left for what must be written."""

    exit_code = ExitCode.IO


class DamagedFileError(XopsError):
    """A record exists but cannot be read as what it should be."""

    exit_code = ExitCode.IO


class CancelledByOperatorError(XopsError):
    """The stage was asked to stop and did so cleanly; raised inside stages to unwind."""

    exit_code = ExitCode.TERMINATED

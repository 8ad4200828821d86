"""The only writer to stderr, and the place where an error becomes an exit status.

Commands raise; `guarded` prints one line that says what happened, one that says what to type next, and
returns the number scripts rely on. A traceback goes to the application log, never to the terminal.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from pipeline.engine.errors import ExitCode, XopsError
from pipeline.engine.text import safe_text


def say(message: str) -> None:
    """Write one line of information to stderr."""
    sys.stderr.write(safe_text(message) + "\n")
    sys.stderr.flush()


def complain(error: XopsError) -> None:
    """Write an error and its hint to stderr."""
    say(f"xops: {error}")
    if error.hint:
        say(f"  next: {error.hint}")


def guarded(command: Callable[[], None]) -> int:
    """Run `command` and turn whatever it raises into an exit status (see `ExitCode`)."""
    code = ExitCode.OK
    try:
        command()
    except XopsError as error:
        complain(error)
        code = error.exit_code
    except KeyboardInterrupt:
        say("xops: interrupted; whatever was started keeps running")
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
    except SystemExit as stop:
        return (
            stop.code
            if isinstance(stop.code, int)
            else int(ExitCode.OK if stop.code is None else ExitCode.USAGE)
        )
    except OSError as error:
        code = _operating_system(error)
    except Exception as error:  # noqa: BLE001 - the process boundary: an operator must not see a traceback
        code = _defect(error)
    return int(code)


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail as well."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _operating_system(error: OSError) -> ExitCode:
    where = f" {error.filename}" if error.filename else ""
    say(f"xops: {error.strerror or error}{where}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        say("  next: free space on that file system, then repeat the command")
        return ExitCode.IO
    if error.errno in (errno.EACCES, errno.EPERM):
        say("  next: check who owns that path: xops doctor")
        return ExitCode.NO_PERMISSION
    return ExitCode.IO


def _defect(error: Exception) -> ExitCode:
    """Record a defect of xops itself where a developer finds it."""
    from screens.terminal.crash import headline, record_crash

    record = record_crash(error)
    where = f"details in {record}" if record else "they could not be written down"
    say(f"xops: an error of its own ({headline(error)}); {where}")
    return ExitCode.SOFTWARE

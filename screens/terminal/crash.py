"""A defect of the console becomes a file without values and one line for the operator.

Tracebacks with local variables show tokens and paths; this one has places, the type and the message with
whatever looks like a credential hidden.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from importlib.metadata import version
from pathlib import Path

from pipeline.engine.journal import redact
from pipeline.engine.text import safe_text


def record_crash(error: BaseException) -> Path | None:
    """Write what is known about `error`, readable by its owner only.

    Returns:
        The file in the state directory, or None if it could not be written.
    """
    import platformdirs

    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    path = Path(platformdirs.user_state_dir("xops")) / "crashes" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(describe(error))
    except OSError:
        return None
    return path


def describe(error: BaseException) -> str:
    """Return the places an error went through, with neither values nor source lines."""
    lines = [f"xops {version('xops')}, textual {version('textual')}, Python {platform.python_version()}"]
    lines += [f"TERM={safe_text(os.environ.get('TERM', ''), 40)}"]
    seen: BaseException | None = error
    while seen is not None:
        lines += ["", headline(seen)]
        lines += [f"  {f.filename}:{f.lineno} in {f.name}" for f in traceback.extract_tb(seen.__traceback__)]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(lines) + "\n"


def headline(error: BaseException) -> str:
    """Return type and message in one safe line."""
    words = " ".join(redact(str(error).split()))
    return safe_text(f"{type(error).__name__}: {words}", 400)

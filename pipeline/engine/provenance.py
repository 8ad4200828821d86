"""Where results come from: the code revision, the libraries and the machine (`resolved.json`)."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pipeline
from pipeline.engine import procfs

#: Libraries whose version can change a result.
_LIBRARIES = (
    *("xops", "msgspec", "huggingface_hub", "asyncssh", "numpy", "h5py", "av"),
    *("torch", "transformers", "peft", "tokenizers", "accelerate", "safetensors"),
)


def provenance() -> dict[str, Any]:
    """Versions, revision and host, as JSON values; what cannot be found out is null."""
    return {
        "created": time.time(),
        "code": code_revision(Path(pipeline.__file__).parent),
        "packages": {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "host": procfs.host(),
    }


def code_revision(folder: Path) -> dict[str, Any] | None:
    """Git commit of the checkout that holds `folder` and whether it has changes; None outside of git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return {"commit": commit, "dirty": bool(changes), "changed": (changes or "").splitlines()[:50]}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    from importlib import metadata  # costs 15 ms that only the making of a run needs

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

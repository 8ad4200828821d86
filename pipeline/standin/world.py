"""The demo's dataset: generated episodes in the exact format, some with a viewer file, below one folder.

A program of its own, so that the console, which starts it, never loads the libraries that make video.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.engine.errors import XopsError


def make_world(root: Path, *, sessions: int = 20, episodes: int = 24, seed: int = 7) -> Path:
    """Write small episodes below `root`; returns `root`.

    Raises:
        StageFailedError: an episode could not be written.
    """
    from pipeline.data.synth.world import WorldSpec, write_world

    spec = WorldSpec(sessions=sessions, episodes=episodes, min_frames=600, max_frames=800, seed=seed)
    root.mkdir(parents=True, exist_ok=True)
    write_world(root, spec)
    (root / "README.md").write_text("A generated dataset with the layout of Xperience-10M.\n", "utf-8")
    return root


def main(argv: list[str] | None = None) -> int:
    """Generate a dataset; tells what is missing on stderr and by the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.standin.world", description=main.__doc__)
    parser.add_argument("root", type=Path, help="directory to write")
    options = parser.parse_args(argv)
    try:
        make_world(options.root)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"making episodes needs the library {error.name}: pip install 'xops[data]'\n")
        return 1
    except XopsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

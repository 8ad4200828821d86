"""Which files below a relay root are xops' own: each run writes down what it may put there.

A sweep removes nothing else. A name stays with its run until that run has delivered everything or is gone, so
two runs on one root leave each other's prefetched files alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.engine.files import publish_bytes


class Ledger:
    """The names of one relay root.

    Args:
        folder: where each run's list lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def claim(self, run_id: str, names: Iterable[str]) -> None:
        """Write down what a run may put below the root, besides what it claimed before."""
        known = self._read(self._list(run_id))
        text = "".join(f"{name}\n" for name in sorted(known | set(names)))
        publish_bytes(self._list(run_id), text.encode())

    def abandoned(self, run_id: str, is_over: Callable[[str], bool]) -> set[str]:
        """Names of this run, and of runs that are over; less what runs that go on still claim."""
        ours, theirs = set[str](), set[str]()
        for path in self._folder.glob("*.txt"):
            mine = path.stem == run_id or is_over(path.stem)
            (ours if mine else theirs).update(self._read(path))
        return ours - theirs

    def forget(self, run_id: str) -> None:
        """A run has nothing left here."""
        self._list(run_id).unlink(missing_ok=True)

    def _list(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.txt"

    @staticmethod
    def _read(path: Path) -> set[str]:
        try:
            return set(path.read_text("utf-8").splitlines())
        except FileNotFoundError:
            return set()

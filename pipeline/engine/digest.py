"""What happened to a run since somebody last looked, and when that was, per user.

The time is kept in the operator's state directory, so that two operators each get their own story.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from pipeline.engine.claim import spoken_seconds
from pipeline.engine.files import publish_json
from pipeline.engine.journal import read_journal
from pipeline.engine.paths import RunPaths
from pipeline.engine.state import StageStatus
from pipeline.engine.status import RunStatus


class Happening(Struct, frozen=True, order=True):
    """One thing that happened: when (Unix seconds), a word for its kind, and a sentence."""

    when: float
    kind: str
    sentence: str


class Digest(Struct, frozen=True, kw_only=True):
    """Everything since a moment.

    Attributes:
        since: Unix seconds.
        happenings: oldest first.
    """

    since: float
    happenings: tuple[Happening, ...] = ()

    def line(self, now: float) -> str:
        """One line for a header; empty if nothing happened."""
        if not self.happenings:
            return ""
        counts: dict[str, int] = {}
        for happening in self.happenings:
            counts[happening.kind] = counts.get(happening.kind, 0) + 1
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return f"since you left ({spoken_seconds(now - self.since)}): {said}"


def digest_since(run: RunPaths, status: RunStatus, since: float, until: float | None = None) -> Digest:
    """Stages started and ended, gates evaluated and operator commands after `since`, not after `until`."""
    end = time.time() if until is None else until
    found = [h for h in (*_of_stages(status), *_of_journal(run)) if since < h.when <= end]
    return Digest(since=since, happenings=tuple(sorted(found)))


def last_seen(root: Path) -> float | None:
    """When this user last left the console on the workspace at `root`; None if never."""
    try:
        return float(json.loads(_seen_file(root).read_text("utf-8"))["when"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_seen(root: Path, when: float | None = None) -> None:
    """Note that the user leaves the console on the workspace at `root`; a full disk is not an error."""
    path = _seen_file(root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        publish_json(path, {"root": str(root), "when": time.time() if when is None else when})
    except OSError:
        return


def _seen_file(root: Path) -> Path:
    import platformdirs

    name = hashlib.blake2b(str(root.absolute()).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return Path(platformdirs.user_state_dir("xops")) / "seen" / f"{name}.json"


def _of_stages(status: RunStatus) -> Iterator[Happening]:
    for whole in status.stages:
        for part in whole.shards or (whole,):
            yield from _of_part(part)


def _of_part(part: StageStatus) -> Iterator[Happening]:
    name = part.stage if part.shard is None else f"{part.stage} shard {part.shard}"
    for attempt in part.attempts:
        if attempt.started is not None:
            yield Happening(attempt.started, "started", f"{name} attempt {attempt.number} started")
        if attempt.ended is not None:
            told = f": {attempt.message}" if attempt.message else ""
            kind = "finished" if attempt.outcome == "done" else attempt.outcome or "ended"
            yield Happening(attempt.ended, kind, f"{name} attempt {attempt.number} {kind}{told}")
    if part.gate is not None:
        sentence = f"gate of {name} evaluated, now {part.gate.verdict}"
        yield Happening(part.gate.evaluated, "gate evaluated", sentence)


def _of_journal(run: RunPaths) -> Iterator[Happening]:
    for line in read_journal(run):
        sentence = f"{line.who}: {line.verb} {line.stage}".rstrip() + f" -> {line.result}"
        yield Happening(line.when, "command", sentence)

"""Episodes that no later stage may use: a journal of who kept what out, why, and when it came back.

One JSON line per act is appended and never changed; what is in quarantine now follows from the lines. QA
puts in what fails; a person may put in anything, and alone takes out. Lines written by QA count only while
the files are the ones that failed, so a repaired episode comes back by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from pipeline.data.qa.record import EpisodeQa
from pipeline.engine.errors import DamagedFileError, UsageError

FILE = "quarantine.jsonl"


class QuarantineAct(Struct, frozen=True, kw_only=True):
    """One line of the journal.

    Attributes:
        episode: `<session>/ep<N>`.
        act: into quarantine or out of it.
        reason: why; never empty.
        who: the person, or `qa`.
        when: Unix seconds.
        identity: of the files, for acts of QA (`EpisodeQa.identity`).
    """

    episode: str
    act: Literal["in", "out"]
    reason: str
    who: str
    when: float
    identity: str = ""


def read_quarantine(path: Path) -> list[QuarantineAct]:
    """All acts, oldest first; none if there is no journal.

    Raises:
        DamagedFileError: a line is no act; the message names it.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    acts = []
    for number, line in enumerate(lines, 1):
        try:
            acts.append(msgspec.json.decode(line, type=QuarantineAct))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DamagedFileError(f"{path} line {number} is no act of quarantine: {error}") from None
    return acts


def quarantined(acts: Iterable[QuarantineAct], identities: Mapping[str, str]) -> dict[str, QuarantineAct]:
    """What is in quarantine, by episode.

    Args:
        acts: oldest first.
        identities: episode -> identity of its files now; acts of QA about other files have lapsed.
    """
    return {path: act for path, act in _last_acts(acts, identities).items() if act.act == "in"}


def overruled(acts: Iterable[QuarantineAct], identities: Mapping[str, str]) -> dict[str, QuarantineAct]:
    """Episodes that a person took out of quarantine: what QA says of these files does not count."""
    return {path: act for path, act in _last_acts(acts, identities).items() if act.act == "out"}


def _last_acts(acts: Iterable[QuarantineAct], identities: Mapping[str, str]) -> dict[str, QuarantineAct]:
    return {
        act.episode: act
        for act in acts
        if not act.identity or act.identity == identities.get(act.episode, act.identity)
    }


def record_act(
    path: Path, episode: str, act: Literal["in", "out"], *, reason: str, who: str
) -> QuarantineAct:
    """Append a person's decision.

    Raises:
        UsageError: no reason is given.
    """
    if not reason.strip():
        raise UsageError(f"a reason is needed to move {episode} {act} of quarantine", hint="--reason TEXT")
    made = QuarantineAct(episode=episode, act=act, reason=reason, who=who, when=time.time())
    _append(path, [made])
    return made


def record_failures(path: Path, results: Iterable[EpisodeQa]) -> list[QuarantineAct]:
    """Append an act for every failed episode that is not already in for the same files.

    An episode that a person took out after QA put it in stays out for these files.
    """
    decided = {(act.episode, act.identity) for act in read_quarantine(path) if act.who == "qa"}
    made = [
        QuarantineAct(
            episode=result.episode,
            act="in",
            reason=result.reason,
            who="qa",
            when=time.time(),
            identity=result.identity,
        )
        for result in results
        if result.verdict == "failed" and (result.episode, result.identity) not in decided
    ]
    _append(path, made)
    return made


def _append(path: Path, acts: Iterable[QuarantineAct]) -> None:
    data = b"".join(msgspec.json.encode(act) + b"\n" for act in acts)
    if not data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)

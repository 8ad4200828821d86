"""One episode as a whole: its seven files, and whether they are of the same moments."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.layout import ANNOTATION, FILES, MAIN_VIDEO
from pipeline.data.qa.record import EpisodeQa, Finding, Findings, Limits

_ORDER = {"fail": 0, "warn": 1, "note": 2}


class QaTask(Struct, frozen=True):
    """What a worker gets.

    Attributes:
        episode: `<session>/ep<N>`.
        folder: where its files are.
        limits: what is still good.
    """

    episode: str
    folder: str
    limits: Limits


def check_episode(task: QaTask) -> EpisodeQa:
    """Look at every file of an episode; never raises for what the files are.

    A failure of a side camera costs that camera, not the episode: it becomes a warning and the file is
    listed in `lost`.
    """
    folder = Path(task.folder)
    identity = file_identity(folder)
    facts: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    for name in FILES:
        facts[name], found = _check_file(folder / name, task.limits)
        findings += found
    findings += _compare(facts, task.limits)
    needed = ("", ANNOTATION, MAIN_VIDEO)
    lost = {f.file for f in findings if f.severity == "fail" and f.file not in needed}
    findings = [
        msgspec.structs.replace(f, severity="warn") if f.severity == "fail" and f.file in lost else f
        for f in findings
    ]
    return EpisodeQa(
        episode=task.episode,
        identity=identity,
        frames=facts[ANNOTATION].get("frames"),
        findings=tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity])),
        lost=tuple(name for name in FILES if name in lost),
        facts=facts,
    )


def _check_file(path: Path, limits: Limits) -> tuple[dict[str, Any], list[Finding]]:
    from pipeline.data.qa.annotation import check_annotation
    from pipeline.data.qa.video import check_video

    missing = Findings(path.name)
    if not path.is_file():
        missing.fail("present", "the file is not there")
        return {}, missing.found
    size = path.stat().st_size
    if size == 0:
        missing.fail("empty", "the file is empty")
        return {"bytes": 0}, missing.found
    if path.name == ANNOTATION:
        facts, found = check_annotation(path, limits)
    else:
        facts, found = check_video(path, limits, audio=path.name == MAIN_VIDEO)
    return {"bytes": size, **facts}, found.found


def file_identity(folder: Path) -> str:
    """A digest of the sizes and modification times of an episode's files."""
    entries = []
    for name in FILES:
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        entries.append(f"{name}\t{status.st_size}\t{status.st_mtime_ns}\n")
    return hashlib.sha256("".join(entries).encode()).hexdigest()[:16]


def _compare(facts: dict[str, dict[str, Any]], limits: Limits) -> list[Finding]:
    """Every video has the annotation's frames; where there is no annotation, the main camera's."""
    frames = {name: facts[name]["frames"] for name in FILES if "frames" in facts[name]}
    if len(frames) < 2:
        return []
    (reference, expected), *others = frames.items()
    findings = []
    for name, count in others:
        found = Findings(name)
        about = f"{count} frames, {reference} has {expected} ({count - expected:+d})"
        if abs(count - expected) > limits.frame_fail:
            found.fail("frames_match", about)
        elif abs(count - expected) > limits.frame_slack:
            found.warn("frames_match", about)
        findings += found.found
    return findings

"""The result of looking at one episode, and the limits it was looked at with."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

#: `fail` makes an episode unusable, `warn` is for a person to see, `note` is a fact worth counting.
Severity = Literal["fail", "warn", "note"]


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is still good. Frames are video frames of 50 ms.

    Attributes:
        fps, fps_slack, clock_fps_slack: nominal rate, and how far a video's rate and the device clock's may
            be from it, frames per second.
        frame_slack: frames by which a video may differ from the annotation without remark; the public sample
            differs by one.
        frame_fail: difference from which a video is unusable: one window.
        min_frames: fewer make no window.
        context_frames: fewer make no full context.
        duration_slack_s: difference between a stream's duration and its frames over its rate.
        audio_slack_s: offset of the audio's start, and difference of its length to the video.
        gap_frames: longest step between two frame timestamps, in frames.
        drift_s: difference between the spans of the video's and the IMU's clocks.
        imu_hz, imu_slack_hz: nominal IMU rate and how far the mean may be from it.
        invalid_share: share of frames without a valid body pose or camera pose.
    """

    fps: float = 20.0
    fps_slack: float = 0.05
    clock_fps_slack: float = 0.5
    frame_slack: int = 1
    frame_fail: int = 20
    min_frames: int = 20
    context_frames: int = 120
    duration_slack_s: float = 0.15
    audio_slack_s: float = 0.25
    gap_frames: float = 2.0
    drift_s: float = 0.2
    imu_hz: float = 200.0
    imu_slack_hz: float = 5.0
    invalid_share: float = 0.1


class Finding(Struct, frozen=True):
    """One thing that is not as it should be.

    Attributes:
        severity: see `Severity`.
        check: which question was asked, snake_case.
        file: file of the episode, or empty where the episode as a whole is meant.
        detail: what was found, with numbers.
    """

    severity: Severity
    check: str
    file: str
    detail: str


class EpisodeQa(Struct, frozen=True, kw_only=True):
    """All that was found in one episode.

    Attributes:
        episode: `<session>/ep<N>`.
        identity: size and modification time of its files; a result counts only while they are the same.
        frames: frames of the annotation; None if it cannot be read.
        findings: worst first.
        lost: side cameras that are missing or cannot be used; the episode goes on without them.
        facts: numbers per file (frames, fps, seconds, sizes), for people and screens.
    """

    episode: str
    identity: str
    frames: int | None
    findings: tuple[Finding, ...]
    lost: tuple[str, ...]
    facts: dict[str, dict[str, Any]]

    @property
    def verdict(self) -> Literal["good", "warned", "failed"]:
        """The worst of the findings; notes do not count."""
        severities = {finding.severity for finding in self.findings}
        return "failed" if "fail" in severities else "warned" if "warn" in severities else "good"

    @property
    def reason(self) -> str:
        """The failures in one sentence; empty if there are none."""
        failures = [f for f in self.findings if f.severity == "fail"]
        return "; ".join(f"{f.file}: {f.detail}" if f.file else f.detail for f in failures)


class Findings:
    """Collects findings about one file (or, with an empty name, about the episode)."""

    def __init__(self, file: str = "") -> None:
        self.file = file
        self.found: list[Finding] = []

    def fail(self, check: str, detail: str) -> None:
        """The episode cannot be used."""
        self.found.append(Finding("fail", check, self.file, detail))

    def warn(self, check: str, detail: str) -> None:
        """A person should know."""
        self.found.append(Finding("warn", check, self.file, detail))

    def note(self, check: str, detail: str) -> None:
        """A fact worth counting."""
        self.found.append(Finding("note", check, self.file, detail))

    def warn_if(self, wrong: bool, check: str, detail: str) -> None:
        """`warn` when `wrong`."""
        if wrong:
            self.warn(check, detail)

"""Gates: checks with evidence that decide whether what follows a stage may start.

A stage collects `Check`s; the dispatcher publishes them as `gate.json`. The verdict is derived, never
stored: a waiver or a signature counts only while the digest it was given for is the digest of the checks
in the file, so a decision about old evidence never covers new evidence.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine.errors import DamagedFileError
from pipeline.engine.files import publish_bytes


class Verdict(StrEnum):
    """What a gate says about its stage."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    WAIVED = "waived"
    UNSIGNED = "unsigned"

    @property
    def open(self) -> bool:
        """Whether stages that need this one may start."""
        return self in (Verdict.PASS, Verdict.WAIVED)


class Check(Struct, frozen=True, kw_only=True):
    """One question a gate asked and the answer it got.

    Attributes:
        name: snake_case, unique within the gate.
        ok: True or False; None when only a person can answer, by signing.
        detail: one sentence with the numbers that matter.
        evidence: paths, counts and limits behind the answer; JSON values only.
    """

    name: str
    ok: bool | None
    detail: str
    evidence: dict[str, Any] = {}


class Decision(Struct, frozen=True, kw_only=True):
    """A person's word on a gate: a waiver or a signature.

    Attributes:
        kind: `waive` lets failed checks pass, `sign` answers those that wait for a person.
        who: the person, `user@host`.
        why: the reason given; never empty.
        when: Unix seconds.
        digest: `GateRecord.digest` of the checks the person saw.
    """

    kind: str
    who: str
    why: str
    when: float
    digest: str


class GateRecord(Struct, frozen=True, kw_only=True):
    """The content of `gate.json`.

    Attributes:
        stage: the stage that asked.
        attempt: the attempt whose evidence this is.
        evaluated: Unix seconds.
        checks: in the order they were made.
        decisions: every waiver and signature ever given, oldest first.
        waivable: whether a waiver counts at all.
    """

    stage: str
    attempt: int
    evaluated: float
    checks: tuple[Check, ...]
    decisions: tuple[Decision, ...] = ()
    waivable: bool = True

    @property
    def digest(self) -> str:
        """Identity of the evidence: changes when any check, answer or number changes."""
        raw = msgspec.json.encode([(c.name, c.ok, c.detail, c.evidence) for c in self.checks], order="sorted")
        return hashlib.blake2b(raw, digest_size=16).hexdigest()

    def decided(self, kind: str) -> Decision | None:
        """The latest decision of that kind about exactly this evidence."""
        return next((d for d in reversed(self.decisions) if d.kind == kind and d.digest == self.digest), None)

    @property
    def verdict(self) -> Verdict:
        """Fail before unsigned before pass; a valid waiver covers both."""
        answers = [check.ok for check in self.checks]
        if all(answers):
            return Verdict.PASS
        if self.waivable and self.decided("waive"):
            return Verdict.WAIVED
        if False in answers:
            return Verdict.FAIL
        return Verdict.PASS if self.decided("sign") else Verdict.UNSIGNED


def read_gate(path: Path) -> GateRecord | None:
    """The record in `path`; None if there is none; DamagedFileError if it is not a gate record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=GateRecord)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not a gate record: {error}") from None


def publish_gate(path: Path, record: GateRecord) -> None:
    """Write `gate.json`; the verdict is included for people and scripts, and ignored on reading."""
    body = {**msgspec.to_builtins(record), "digest": record.digest, "verdict": record.verdict.value}
    publish_bytes(path, msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n")

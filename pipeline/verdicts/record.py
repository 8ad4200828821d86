"""The shape of a validation, as published: a status, a summary, and issues with their stage and severity."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

Severity = Literal["error", "warning"]


class Issue(Struct, frozen=True):
    """Something that is wrong.

    Attributes:
        stage: whose evidence it concerns.
        severity: an error fails the validation; a warning needs a person's signature.
        message: what, where, and what to do.
    """

    stage: str
    severity: Severity
    message: str


class Question(Struct, frozen=True):
    """One check and its answer.

    Attributes:
        name: as gates call it.
        stage: whose evidence it looks at.
        ok: the answer; None when only a person can give it.
        detail: with numbers.
    """

    name: str
    stage: str
    ok: bool | None
    detail: str

    @property
    def issue(self) -> Issue | None:
        """The answer as an issue; None when it is good."""
        if self.ok:
            return None
        return Issue(self.stage, "error" if self.ok is False else "warning", f"{self.name}: {self.detail}")


def record(questions: list[Question], summary: dict[str, Any]) -> dict[str, Any]:
    """The validation as JSON; warnings alone do not fail it."""
    issues = [issue for one in questions if (issue := one.issue) is not None]
    failed = any(issue.severity == "error" for issue in issues)
    return {
        "status": "fail" if failed else "pass",
        "summary": summary,
        "issues": msgspec.to_builtins(issues),
        "checks": {one.name: one.ok for one in questions},
    }

"""Text that must not leave: credentials, paths of this or any host, names of hosts and people.

Paths and hosts are redacted; a credential is never redacted but refused, because where one is, more may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

_SECRETS = (
    ("Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{20,}")),
    ("GitHub token", re.compile(r"\b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{20,}")),
    ("AWS key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("API key", re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    ("private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("bearer token", re.compile(r"\bBearer\s+[A-Za-z0-9._~+/-]{20,}")),
    (
        "assigned secret",
        re.compile(
            r"(?i)\b(?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)"
            r"[\"']?\s*[:=]\s*[\"']?(?!<)[A-Za-z0-9+/_.-]{12,}"
        ),
    ),
)

#: First folders of absolute paths of hosts. A path of the web (`//host/x`) or inside `<...>/x` is none.
_ROOTS = (
    "home|Users|root|mnt|media|data|private|workspace|scratch|opt|tmp|var|srv|nfs|gpfs|lustre|work|etc|usr"
)
_PATH = re.compile(rf"(?<![\w/>.:-])/(?:{_ROOTS})(?:/[^\s\"'`,;:()\[\]{{}}<>|\\]*)?(?![\w-])")
_WINDOWS = re.compile(r"\b[A-Za-z]:\\\\?[^\s\"']+")
_LOGIN = re.compile(r"\b[A-Za-z_][\w.-]*@[A-Za-z0-9][\w.-]*\b")
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")


class Finding(Struct, frozen=True):
    """Something in a text that must not leave.

    Attributes:
        kind: `path`, `host`, or the name of a secret.
        line: where, from 1.
        shown: enough to find it; of a secret only the first four characters.
    """

    kind: str
    line: int
    shown: str

    @property
    def redactable(self) -> bool:
        """Whether replacing it makes the text fit to leave."""
        return self.kind in {"path", "host"}


class Redactor:
    """Replaces what may not leave.

    Args:
        roots: absolute folder -> its word, such as `<workspace>`; the longest match goes first.
        hosts: names and addresses of hosts and users.
    """

    def __init__(self, roots: Mapping[str, str], hosts: Iterable[str] = ()) -> None:
        self._roots = sorted(((k.rstrip("/"), v) for k, v in roots.items() if len(k) > 1), key=_longest)
        names = sorted({name for name in hosts if len(name) > 2}, key=len, reverse=True)
        self._hosts = (
            re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])") if names else None
        )

    def redact(self, text: str) -> tuple[str, int]:
        """The text with words in place of paths and hosts, and how many were replaced."""
        count = 0
        for root, word in self._roots:
            count += text.count(root)
            text = text.replace(root, word)
        text, paths = _PATH.subn(lambda m: f"<path>/{m.group().rstrip('/').rpartition('/')[2]}", text)
        text, windows = _WINDOWS.subn("<path>", text)
        text, logins = _LOGIN.subn("<host>", text)
        text, addresses = _ADDRESS.subn("<host>", text)
        hosts = 0
        if self._hosts is not None:
            text, hosts = self._hosts.subn("<host>", text)
        return text, count + paths + windows + logins + addresses + hosts


def find(text: str) -> list[Finding]:
    """Everything in a text that must not leave."""
    found: list[Finding] = []
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in _SECRETS:
            found += [Finding(kind, number, m.group()[:4] + "...") for m in pattern.finditer(line)]
        found += [Finding("path", number, m.group()[:120]) for m in _PATH.finditer(line)]
        found += [Finding("path", number, m.group()[:120]) for m in _WINDOWS.finditer(line)]
        for pattern in (_LOGIN, _ADDRESS):
            found += [Finding("host", number, m.group()[:80]) for m in pattern.finditer(line)]
    return found


def _longest(pair: tuple[str, str]) -> int:
    return -len(pair[0])

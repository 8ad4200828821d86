"""Foreign text made safe for a terminal: names, messages, model answers and log lines are data.

`safe_text` is the one function between such text and a screen or a printed table. It works on text, not
on markup: whoever draws must not parse the result as markup either.
"""

from __future__ import annotations

import re
import unicodedata

#: ANSI sequences (CSI, OSC and other string sequences, two-character escapes) with their 8-bit forms.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)

#: Characters that reorder what follows (bidirectional controls) or are invisible in a misleading way.
_BIDI = re.compile("[\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]")

_SPACE = re.compile(r"[\t\r\n\x0b\x0c\x85]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def safe_text(text: str, limit: int = 0) -> str:
    """`text` as one line without anything a terminal would act on.

    Escape sequences vanish; tabs and line ends become one space; other control characters, lone
    surrogates and bidirectional controls become `?`. With `limit`, at most that many characters are
    kept and a cut is marked with `...`.
    """
    if limit and len(text) > 4 * limit:
        text = text[: 4 * limit]
    if not text.isprintable():
        text = _SPACE.sub(" ", _SEQUENCE.sub("", text))
        text = _CONTROL.sub("?", _BIDI.sub("?", text))
    if limit and len(text) > limit:
        return text[: max(limit - 3, 0)] + "..."[:limit]
    return text


def cell_width(text: str) -> int:
    """Terminal cells `text` takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

"""Making foreign text harmless before any terminal sees it.

Logs, file names, host names and model output may hold escape sequences, invisible and bidirectional
controls, lone surrogates or lines of 600 kB. `safe_text` turns any of it into one line of printable
characters whose width in terminal cells is known. Everything that prints or draws text it did not write
itself goes through here, the command line and the screens alike; nobody parses markup in such text.

Widths follow UAX #11 for the characters that `safe_text` lets through: sequences whose width depends on
the terminal (joined emoji, variation selectors, flags) are taken apart, so that a column stays a column.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Stands for anything that cannot be shown: surrogates, private use, characters newer than our tables.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Marks a cut, both here and in every widget.
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

#: Complete ECMA-48 sequences in 7-bit and 8-bit form. An unterminated string sequence loses only its
#: introducer, so that it cannot hide the rest of a line.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, ...
    r"|\x1b[ -/]+[0-~]"  # charset choice
    r"|\x1b[0-~]"  # two-character escapes
)
_FOLDED = re.compile("[\\t\\n\\v\\f\\r\x1c-\x1f\x85\u2028\u2029]+")
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f]")
_JOINERS = frozenset("\u200c\u200d" + "".join(map(chr, range(0xFE00, 0xFE10))))
#: Ranges that terminals disagree about: flag letters, skin tones, Hangul fillers, and the trigrams,
#: hexagrams and tetragrams that were narrow until Unicode 16.
_DISPUTED = (
    *((0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF), (0x3164, 0x3164), (0xFFA0, 0xFFA0)),
    *((0x2630, 0x2637), (0x268A, 0x268F), (0x4DC0, 0x4DFF), (0x1D300, 0x1D376)),
)
#: Parts of composed Hangul syllables: vowels and finals join the consonant before them.
_JAMO = ((0x1160, 0x11FF), (0xD7B0, 0xD7FF))
#: Combining marks shown after one character; more of them would smear over neighbouring lines.
_MARKS = 2
#: Characters of the input looked at per cell of output wanted: escape sequences and marks take no cell.
_LOOK_AHEAD = 64


def safe_text(text: str, width: int | None = None, *, ascii_only: bool = False) -> str:
    """Return `text` as one printable line.

    Escape sequences and control characters vanish; tabs and line ends become one space; invisible and
    bidirectional controls show as `<U+202E>`; what no font or table knows shows as U+FFFD.

    Args:
        text: anything, of any length.
        width: cells the result may take; a longer one ends in an ellipsis. None for no bound.
        ascii_only: for terminals that show nothing else: `?` for each other cell, `~` as ellipsis.
    """
    if width is not None and len(text) > (width + 1) * _LOOK_AHEAD:
        text = safe_text(text[: (width + 1) * _LOOK_AHEAD]) + ELLIPSIS
    if not (text.isascii() and text.isprintable()):
        text = _CONTROLS.sub("", _FOLDED.sub(" ", _SEQUENCES.sub("", text)))
        if not text.isascii():
            text = _printable(text)
    if ascii_only and not text.isascii():
        text = "".join(c if c.isascii() else "~" if c == ELLIPSIS else "?" * _char_width(c) for c in text)
    return text if width is None else clip(text, width, "~" if ascii_only else ELLIPSIS)


def clip(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Return safe `text` cut to `width` cells, with `ellipsis` in the last one if anything was lost."""
    if width <= 0:
        return ""
    if len(text) * 2 <= width or cell_width(text) <= width:
        return text
    used = 0
    for index, char in enumerate(text):
        used += _char_width(char)
        if used > width - 1:
            return text[:index] + ellipsis
    return text


def cell_width(text: str) -> int:
    """Return the terminal cells that safe `text` takes."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _printable(text: str) -> str:
    """Replace, drop or spell out every character that has no dependable cell of its own."""
    out: list[str] = []
    marks = _MARKS  # none may come first: it would join whatever stands to the left on the screen
    for char in text:
        if char.isascii():
            out.append(char)
            marks = 0
            continue
        shown = _shown(char)
        if shown and _char_width(char) == 0 and shown == char:
            marks += 1
            if marks > _MARKS:
                continue
        elif shown:
            marks = 0
        out.append(shown)
    return "".join(out)


@lru_cache(maxsize=8192)
def _shown(char: str) -> str:
    """What stands for one non-ASCII character."""
    if char in _JOINERS:
        return ""
    category = unicodedata.category(char)
    if category == "Cf":
        return f"<U+{ord(char):04X}>"
    if category in ("Cs", "Co", "Cn") or any(low <= ord(char) <= high for low, high in _DISPUTED):
        return REPLACEMENT
    return " " if category in ("Zs", "Zl", "Zp") else char


@lru_cache(maxsize=8192)
def _char_width(char: str) -> int:
    if unicodedata.category(char).startswith("M") or any(low <= ord(char) <= high for low, high in _JAMO):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1

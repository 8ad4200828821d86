"""Which characters a terminal can show: three sets, one value that every widget takes.

A state is never told by colour alone: each has a glyph and a letter. `ASCII` needs nothing but ASCII,
`BLOCK` adds what the Linux console's font has, `BRAILLE` adds dots for charts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.engine.gates import Verdict
from pipeline.engine.state import StageState
from pipeline.engine.text import safe_text


class Mark(NamedTuple):
    """How a state shows without colour.

    Attributes:
        glyph: one cell.
        letter: one upper-case letter, unique among states (or among verdicts).
        tone: name of the colour role: `success`, `warning`, `error`, `primary`, `muted` or `text`.
    """

    glyph: str
    letter: str
    tone: str


_STATE_LETTERS: dict[StageState, tuple[str, str]] = {
    StageState.ORPHANED: ("O", "error"),
    StageState.CANCELLING: ("X", "warning"),
    StageState.STALLED: ("Z", "warning"),
    StageState.RUNNING: ("R", "primary"),
    StageState.QUEUED: ("Q", "primary"),
    StageState.SUCCEEDED: ("D", "success"),
    StageState.STALE: ("S", "warning"),
    StageState.FAILED: ("F", "error"),
    StageState.CANCELLED: ("C", "muted"),
    StageState.LOST: ("L", "error"),
    StageState.BLOCKED: ("B", "muted"),
    StageState.READY: ("N", "text"),
}
_VERDICT_LETTERS: dict[Verdict, tuple[str, str]] = {
    Verdict.PASS: ("P", "success"),
    Verdict.FAIL: ("F", "error"),
    Verdict.WAIVED: ("W", "warning"),
    Verdict.UNSIGNED: ("U", "warning"),
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character set.

    Attributes:
        name: `braille`, `block` or `ascii`.
        eighths: bar pieces from almost nothing to a full cell; one entry if bars have whole cells only.
        empty: the unfilled part of a bar.
        band: the uncertain part of a bar or an ETA.
        levels: a column's height in one cell, from low to full.
        horizontal, vertical, corner, cross: rules and axes.
        cursor, marked: the row an operator stands on; a row they marked.
        ascending, descending: sort directions.
        ellipsis: where something was cut.
        best: the best point of a curve.
        gap: where a value was not a number.
        state_glyphs, verdict_glyphs: one cell per state, in the order of the enumerations.
    """

    name: str
    eighths: str
    empty: str
    band: str
    levels: str
    horizontal: str
    vertical: str
    corner: str
    cross: str
    cursor: str
    marked: str
    ascending: str
    descending: str
    ellipsis: str
    best: str
    gap: str
    state_glyphs: str
    verdict_glyphs: str
    _states: dict[StageState, Mark] = field(init=False, repr=False, compare=False)
    _verdicts: dict[Verdict, Mark] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        states = zip(StageState, self.state_glyphs, strict=True)
        object.__setattr__(self, "_states", {s: Mark(g, *_STATE_LETTERS[s]) for s, g in states})
        verdicts = zip(Verdict, self.verdict_glyphs, strict=True)
        object.__setattr__(self, "_verdicts", {v: Mark(g, *_VERDICT_LETTERS[v]) for v, g in verdicts})

    def state(self, state: StageState) -> Mark:
        """How a stage's state shows."""
        return self._states[state]

    def verdict(self, verdict: Verdict) -> Mark:
        """How a gate's verdict shows."""
        return self._verdicts[verdict]

    def text(self, text: str, width: int | None = None) -> str:
        """Return foreign `text` as one line this terminal can show (see `safe_text`)."""
        return safe_text(text, width, ascii_only=self.name == "ascii")

    def bar(self, fraction: float, width: int) -> str:
        """Return `width` cells filled to `fraction` (0..1, clamped)."""
        if width <= 0:
            return ""
        steps = len(self.eighths)
        filled = int(min(max(fraction, 0.0), 1.0) * width * steps + 1e-9)
        whole, rest = divmod(filled, steps)
        text = self.eighths[-1] * whole + (self.eighths[rest - 1] if rest else "")
        return text + self.empty * (width - len(text))


ASCII = Glyphs(
    name="ascii",
    eighths="#",
    empty=".",
    band="=",
    levels="_.-=*#",
    horizontal="-",
    vertical="|",
    corner="+",
    cross="+",
    cursor=">",
    marked="*",
    ascending="^",
    descending="v",
    ellipsis="~",
    best="*",
    gap="?",
    state_glyphs="!xz>:+~x-?.o",
    verdict_glyphs="+xw?",
)
BLOCK = Glyphs(
    name="block",
    eighths="\u258c\u2588",
    empty="\u2591",
    band="\u2592",
    levels="\u2584\u2588",
    horizontal="\u2500",
    vertical="\u2502",
    corner="\u2514",
    cross="\u253c",
    cursor="\u25ba",
    marked="*",
    ascending="\u25b2",
    descending="\u25bc",
    ellipsis="~",
    best="*",
    gap="?",
    state_glyphs="!xz\u25ba:\u221a~x-?\u00b7o",
    verdict_glyphs="\u221axw?",
)
BRAILLE = Glyphs(
    name="braille",
    eighths="\u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588",
    empty="\u2591",
    band="\u2592",
    levels="\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588",
    horizontal="\u2500",
    vertical="\u2502",
    corner="\u2514",
    cross="\u253c",
    cursor="\u25b8",
    marked="\u25cf",
    ascending="\u25b4",
    descending="\u25be",
    ellipsis="\u2026",
    best="\u2605",
    gap="\u2573",
    state_glyphs="\u2691\u2298\u29d6\u25b6\u25f7\u2713\u21bb\u2717\u2012?\u00b7\u25cb",
    verdict_glyphs="\u2713\u2717\u2248?",
)
SETS: dict[str, Glyphs] = {glyphs.name: glyphs for glyphs in (BRAILLE, BLOCK, ASCII)}

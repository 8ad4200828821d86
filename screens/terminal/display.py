"""What this terminal can do, decided once, before anything is drawn.

`choose` is a pure function of the `Surroundings` (environment, which streams are terminals, size). The
ladder is full > inline > plain > jsonl > none; without a wish the highest possible of full and plain is
taken, a wish that cannot be met goes down to plain and says why.

| variable         | meaning                                            |
|------------------|----------------------------------------------------|
| `XOPS_DISPLAY`   | the wish, as `--display`                           |
| `XOPS_GLYPHS`    | `braille`, `block` or `ascii`                      |
| `NO_COLOR`       | not empty: no colour sequence is ever written      |
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TextIO

from pipeline.engine.errors import UsageError
from screens.terminal.glyphs import ASCII, BLOCK, BRAILLE, SETS, Glyphs

#: Below this the screens give way to one line of status.
MINIMUM_COLUMNS, MINIMUM_ROWS = 60, 15

#: Set where a browser is the terminal (textual-serve): its streams are pipes, and it can show everything.
_BROWSER = "TEXTUAL_DRIVER"

_DUMB = ("", "dumb", "unknown")
_ASCII_TERMS = ("vt", "ansi", "wyse", "hp", "tvi", "adm")
_TRUE_COLOUR_TERMS = ("-direct", "kitty", "alacritty", "foot", "ghostty", "wezterm", "iterm2")


class Display(StrEnum):
    """Ways to show progress, the most capable first."""

    FULL = "full"
    INLINE = "inline"
    PLAIN = "plain"
    JSONL = "jsonl"
    NONE = "none"


class Colour(IntEnum):
    """How many colours may be sent."""

    MONO = 0
    ANSI16 = 1
    ANSI256 = 2
    TRUE = 3


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything the choice depends on.

    Attributes:
        env: the environment as the operator set it, before Python changed the locale in it.
        stdin_tty, stdout_tty, stderr_tty: which streams are terminals.
        foreground: the terminal would let this process read (not started with `&`).
        columns, rows: size in cells.
    """

    env: Mapping[str, str]
    stdin_tty: bool = True
    stdout_tty: bool = True
    stderr_tty: bool = True
    foreground: bool = True
    columns: int = 80
    rows: int = 24

    @classmethod
    def observe(cls) -> Surroundings:
        """Look at this process."""
        size = shutil.get_terminal_size()
        return cls(
            env=_original_environment(),
            stdin_tty=_is_tty(sys.__stdin__),
            stdout_tty=_is_tty(sys.__stdout__),
            stderr_tty=_is_tty(sys.__stderr__),
            foreground=_in_foreground(),
            columns=size.columns,
            rows=size.lines,
        )


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The choice.

    Attributes:
        display: what to run.
        colour: how many colours may be sent.
        glyphs: which characters may be drawn.
        reason: why it is not what was wished or expected; empty if it is.
    """

    display: Display
    colour: Colour
    glyphs: Glyphs
    reason: str = ""

    @property
    def theme(self) -> str:
        """Name of the theme to start with."""
        return {Colour.MONO: "mono", Colour.ANSI16: "ansi"}.get(self.colour, "dark")


def choose(around: Surroundings, wish: str | None = None) -> Capabilities:
    """Decide how to show things here.

    Args:
        around: what was observed.
        wish: `--display`; None to look at `XOPS_DISPLAY`.

    Raises:
        UsageError: the wish or a variable names nothing we know.
    """
    wanted = _named(wish or around.env.get("XOPS_DISPLAY", ""), "display", [d.value for d in Display])
    obstacle = _obstacle(around)
    display, reason = Display(wanted or Display.FULL), ""
    if display in (Display.FULL, Display.INLINE) and obstacle:
        display, reason = Display.PLAIN, obstacle
    return Capabilities(display, _colour(around.env), _glyphs(around.env), reason)


def is_tiny(columns: int, rows: int) -> bool:
    """Whether only one line of status fits."""
    return columns < MINIMUM_COLUMNS or rows < MINIMUM_ROWS


def _obstacle(around: Surroundings) -> str:
    """Why the screen cannot be taken over; empty if it can."""
    if _BROWSER in around.env:
        return ""
    streams = {"stdin": around.stdin_tty, "stdout": around.stdout_tty, "stderr": around.stderr_tty}
    missing = [name for name, tty in streams.items() if not tty]
    if missing:
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not a terminal"
    if around.env.get("TERM", "") in _DUMB:
        return f"TERM={around.env.get('TERM', '')} cannot move a cursor"
    return "" if around.foreground else "started in the background"


def _colour(env: Mapping[str, str]) -> Colour:
    term = env.get("TERM", "")
    if _BROWSER in env and not env.get("NO_COLOR"):
        return Colour.TRUE
    if env.get("NO_COLOR") or term in _DUMB or term.startswith("vt"):
        return Colour.MONO
    if env.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return Colour.TRUE
    if any(name in term for name in _TRUE_COLOUR_TERMS):
        return Colour.TRUE
    return Colour.ANSI256 if "256color" in term else Colour.ANSI16


def _glyphs(env: Mapping[str, str]) -> Glyphs:
    override = _named(env.get("XOPS_GLYPHS", ""), "glyphs", list(SETS))
    if override:
        return SETS[override]
    term = env.get("TERM", "")
    if _BROWSER in env:
        return BRAILLE
    if codeset(env) != "utf-8" or term in _DUMB or term.startswith(_ASCII_TERMS):
        return ASCII
    return BLOCK if term.startswith(("linux", "cons25", "con132")) else BRAILLE


def codeset(env: Mapping[str, str]) -> str:
    """Return the operator's character set, `utf-8` or another lower-case name, from the locale variables.

    A locale without a codeset (`C`, `de_DE`) means an eight-bit one; what Python coerced it to is not
    what the terminal shows.
    """
    name = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "C"
    found = name.partition(".")[2].partition("@")[0].lower() or "ascii"
    return "utf-8" if found in ("utf-8", "utf8") else found


def _named(value: str, what: str, known: list[str]) -> str:
    if value and value not in known:
        raise UsageError(f"{value!r} is not a {what}", hint=f"use one of: {', '.join(known)}")
    return value


def _is_tty(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno()) == os.getpgrp() if sys.__stdin__ else False
    except (OSError, ValueError):
        return True  # not our controlling terminal: nobody will stop us for reading it


def _original_environment() -> Mapping[str, str]:
    """The environment at exec, with later changes of everything but the locale (PEP 538 coerces that)."""
    try:
        raw = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environ)
    first = dict(os.fsdecode(item).partition("=")[::2] for item in raw.split(b"\0") if b"=" in item)
    locale = {key: first[key] for key in ("LC_ALL", "LC_CTYPE", "LANG") if key in first}
    return {k: v for k, v in os.environ.items() if k not in ("LC_ALL", "LC_CTYPE", "LANG")} | locale

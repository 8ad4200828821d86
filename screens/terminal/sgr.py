"""Styles as SGR parameters, never with more colour than the terminal may get."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from rich.color import Color, ColorSystem
from rich.style import Style

from screens.terminal.display import Colour

_ATTRIBUTES = (("bold", "1"), ("dim", "2"), ("italic", "3"), ("underline", "4"), ("blink", "5"))
_SYSTEMS = {
    Colour.ANSI16: ColorSystem.STANDARD,
    Colour.ANSI256: ColorSystem.EIGHT_BIT,
    Colour.TRUE: ColorSystem.TRUECOLOR,
}


@cache
def encoder(colour: Colour) -> Callable[[Style | None], str]:
    """Return the function that maps a style to the parameters of `CSI ... m`, empty for the default.

    With `Colour.MONO` only attributes come out: a background that is not the default becomes reverse video.
    """
    known: dict[Style | None, str] = {None: ""}

    def encode(style: Style | None) -> str:
        found = known.get(style)
        if found is None:
            if len(known) > 4096:
                known.clear()
            found = known[style] = _parameters(style, colour) if style is not None else ""
        return found

    return encode


def _parameters(style: Style, colour: Colour) -> str:
    codes = [code for name, code in _ATTRIBUTES if getattr(style, name)]
    reverse = bool(style.reverse)
    if colour is Colour.MONO:
        reverse ^= _is_set(style.bgcolor)
    codes += ["7"] * reverse + ["9"] * bool(style.strike) + ["53"] * bool(style.overline)
    if colour is not Colour.MONO:
        codes += _colour_codes(style.color, colour, foreground=True)
        codes += _colour_codes(style.bgcolor, colour, foreground=False)
    return ";".join(codes)


def _is_set(colour: Color | None) -> bool:
    return colour is not None and not colour.is_default


def _colour_codes(colour: Color | None, level: Colour, *, foreground: bool) -> list[str]:
    if colour is None or colour.is_default:
        return []
    return list(colour.downgrade(_SYSTEMS[level]).get_ansi_codes(foreground))

"""Themes: dark, light, colour-blind safe, sixteen colours, none.

`ansi` uses the terminal's own palette. `mono` has no colour at all: the cell writer turns every
background that is not the default into reverse video, so cursors and selections stay visible.
"""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

#: What a widget may call a colour; each theme gives it a value through `$tone-<name>`.
TONES = ("text", "muted", "primary", "success", "warning", "error", "accent")

_DARK = {"text": "#e0e4ea", "muted": "#8b95a5", "primary": "#6cb6ff", "success": "#7ccf7c"}
_DARK |= {"warning": "#e8c35a", "error": "#ff7b72", "accent": "#d2a8ff"}
_LIGHT = {"text": "#1f2328", "muted": "#5e6874", "primary": "#0550ae", "success": "#116329"}
_LIGHT |= {"warning": "#7d4e00", "error": "#a40e26", "accent": "#6639ba"}
#: Okabe and Ito (2008), lightened for dark ground: told apart with any of the common colour blindnesses.
_SAFE = {"text": "#e6e6e6", "muted": "#9a9a9a", "primary": "#56b4e9", "success": "#2fc495"}
_SAFE |= {"warning": "#f0e442", "error": "#ee8a3c", "accent": "#d99bc0"}
_ANSI = {"text": "ansi_default", "muted": "ansi_bright_black", "primary": "ansi_blue"}
_ANSI |= {"success": "ansi_green", "warning": "ansi_yellow", "error": "ansi_red", "accent": "ansi_magenta"}
_MONO = dict.fromkeys(TONES, "ansi_default")

_PLAIN_VARIABLES = BUILTIN_THEMES["ansi-dark"].variables | {
    "block-cursor-background": "ansi_white",
    "block-cursor-foreground": "ansi_black",
    "block-cursor-blurred-background": "ansi_default",
    "block-cursor-blurred-foreground": "ansi_default",
    "border": "ansi_default",
    "border-blurred": "ansi_default",
    "footer-background": "ansi_default",
    "footer-key-foreground": "ansi_default",
    "input-cursor-background": "ansi_white",
    "input-cursor-foreground": "ansi_black",
    "input-selection-background": "ansi_white",
    "input-selection-foreground": "ansi_black",
    "screen-selection-background": "ansi_white",
    "screen-selection-foreground": "ansi_black",
    "scrollbar": "ansi_white",
    "scrollbar-hover": "ansi_white",
    "scrollbar-active": "ansi_white",
    "scrollbar-background": "ansi_default",
    "scrollbar-background-hover": "ansi_default",
    "scrollbar-background-active": "ansi_default",
    "scrollbar-corner-color": "ansi_default",
    "link-background-hover": "ansi_white",
    "link-color-hover": "ansi_black",
}


def _theme(name: str, tones: dict[str, str], background: str, surface: str, *, dark: bool = True) -> Theme:
    ansi = background.startswith("ansi")
    cursor = {"cursor-background": "ansi_white", "cursor-foreground": "ansi_black"}
    if not ansi:
        cursor = {"cursor-background": "#2d4a6e" if dark else "#b6d7ff", "cursor-foreground": tones["text"]}
    return Theme(
        name=name,
        primary=tones["primary"],
        secondary=tones["accent"],
        warning=tones["warning"],
        error=tones["error"],
        success=tones["success"],
        accent=tones["accent"],
        foreground=tones["text"],
        background=background,
        surface=surface,
        panel=surface,
        boost="ansi_default" if ansi else None,
        dark=dark,
        ansi=ansi,
        variables={f"tone-{tone}": tones[tone] for tone in TONES}
        | cursor
        | (_PLAIN_VARIABLES if ansi else {}),
    )


THEMES: dict[str, Theme] = {
    theme.name: theme
    for theme in (
        _theme("dark", _DARK, "#0d1117", "#161b22"),
        _theme("light", _LIGHT, "#ffffff", "#eef1f5", dark=False),
        _theme("colour-blind", _SAFE, "#101010", "#1c1c1c"),
        _theme("ansi", _ANSI, "ansi_default", "ansi_default"),
        _theme("mono", _MONO, "ansi_default", "ansi_default"),
    )
}

"""Help: the keys of a screen, each with the command that does the same without the console."""

from __future__ import annotations

from screens.actions import ACTIONS, Target, command_line
from screens.pane import Line

_MOVES = (
    ("j k arrows", "move; ctrl-d, ctrl-u: by pages; g, G: first, last"),
    ("enter esc", "open; back"),
    ("space tab", "mark; next pane (in the Log: events, journal, output)"),
    ("f", "in the Log: follow the end again"),
)


def help_lines(target: Target, *, read_only: bool) -> list[Line]:
    """Every action with key, meaning and twin for what the cursor is on."""
    lines: list[Line] = []
    if read_only:
        lines.append([("read-only: keys marked * are refused", "warning")])
    lines += [[(f"{keys:<11}", "accent bold"), (what, "text")] for keys, what in _MOVES]
    lines.append([])
    for action in ACTIONS:
        keys = action.shown or action.keys.replace(",", " ")
        mark = "* " if action.acts else "  "
        lines.append([(f"{keys:<9}{mark}", "accent bold"), (action.summary, "text")])
        if action.twin is not None:
            lines.append([(" " * 11 + "$ ", "muted"), (command_line(action.twin(target)), "muted")])
    lines += [[], [("* changes the run; asks first. Leaving the console stops nothing.", "muted")]]
    return lines

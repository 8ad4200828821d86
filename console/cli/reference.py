"""Writes `docs/cli.md` from the command tree: `python -m console.cli.reference > docs/cli.md`.

A test compares the file with the tree, so the reference cannot fall behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

HEAD = """\
# Command reference

Generated from the command tree by `python -m console.cli.reference`; a test keeps it true.

Data goes to stdout, everything else to stderr. Every verb takes `--json`, every act `--dry-run`, and what
loses something asks first or wants `--yes`. A run id may be shortened to any unique beginning, or `last`.

| exit status | meaning |
|---|---|
"""

MEANINGS = {
    "OK": "done",
    "STAGE_FAILED": "a stage failed, or a check found a difference",
    "USAGE": "the command or the configuration is wrong",
    "GATE_NOT_PASSED": "a gate has not passed",
    "NOT_READY": "a dependency is not ready",
    "NOT_FOUND": "run, stage, gate or file not found",
    "UNREACHABLE": "host or Hub cannot be reached",
    "SOFTWARE": "an error of xops itself; details in its state directory",
    "IO": "a file system refused (full, broken)",
    "BUSY": "somebody else holds the claim",
    "NO_PERMISSION": "access denied or still pending",
    "TIMED_OUT": "the given time limit ran out; what was waited for goes on",
    "INTERRUPTED": "interrupted from the keyboard",
    "TERMINATED": "terminated",
}


def render() -> str:
    """The whole reference as Markdown."""
    from console.cli import COMMANDS, load_command
    from pipeline.engine.errors import ExitCode

    codes = "".join(f"| {code.value} | {MEANINGS[code.name]} |\n" for code in ExitCode)
    parts = [HEAD + codes, _section("xops", _root())]
    for name in COMMANDS:
        parts.extend(_commands(f"xops {name}", load_command(name)))
    return "\n".join(parts)


def _root() -> Any:
    import typer

    from console.cli import app

    return typer.main.get_command(app)


def _commands(path: str, command: Any) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if not children:
        yield _section(path, command)
        return
    yield f"## `{path}`\n\n{_sentence(command)}\n"
    for name, child in leaves(command):
        yield _section(f"{path} {name}", child, level=3)


def leaves(command: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every verb below a group with its words, groups inside groups taken apart."""
    for name, child in (getattr(command, "commands", None) or {}).items():
        if getattr(child, "commands", None):
            yield from leaves(child, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", child


def _section(path: str, command: Any, level: int = 2) -> str:
    lines = [f"{'#' * level} `{path}{_arguments(command)}`", "", _sentence(command), ""]
    options = [_option(p) for p in command.params if p.param_type_name == "option" and not _built_in(p)]
    if options:
        lines += ["| option | default | meaning |", "|---|---|---|", *options, ""]
    return "\n".join(lines)


def _sentence(command: Any) -> str:
    return " ".join((command.help or "").split())


def _arguments(command: Any) -> str:
    names = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
    return "".join(f" {name}" for name in names)


def _built_in(parameter: Any) -> bool:
    return any(name in ("--install-completion", "--show-completion", "--help") for name in parameter.opts)


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    plain = parameter.default not in (None, "", False, [], ()) and not callable(parameter.default)
    default = parameter.default if plain else ""
    return f"| {names} | {default} | {' '.join((parameter.help or '').split())} |"


if __name__ == "__main__":
    sys.stdout.write(render())

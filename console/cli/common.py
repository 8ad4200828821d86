"""Options and look-ups that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.engine.config import find_workspace
from pipeline.engine.errors import NotFoundError, UsageError
from pipeline.engine.paths import RunPaths, WorkspacePaths

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do it without asking; needed where no terminal can be asked.")
]


def complete_run(incomplete: str) -> list[str]:
    """Run ids for shell completion, newest first; nothing where there is no workspace."""
    try:
        runs = find_workspace().list_runs()
    except NotFoundError:
        return []
    return [run.run_id for run in reversed(runs) if run.run_id.startswith(incomplete)]


RunId = Annotated[
    str,
    typer.Argument(help="Run id, a unique beginning of one, or 'last'.", autocompletion=complete_run),
]


def workspace_here() -> WorkspacePaths:
    """The workspace the command works on; NotFoundError with the command that makes one."""
    return find_workspace()


def find_run(name: str, workspace: WorkspacePaths | None = None) -> RunPaths:
    """The run called `name`, the only one whose id begins with it, or the newest for `last`.

    Raises:
        NotFoundError: no run matches.
        UsageError: several runs match.
    """
    workspace = workspace or workspace_here()
    runs = workspace.list_runs()
    if name == "last" and runs:
        return runs[-1]
    exact = [run for run in runs if run.run_id == name]
    matches = exact or [run for run in runs if run.run_id.startswith(name)]
    if not matches:
        raise NotFoundError(f"no run {name!r} in {workspace.root}", hint="xops run ls")
    if len(matches) > 1:
        names = ", ".join(run.run_id for run in matches[:5])
        raise UsageError(f"{name!r} could be any of {names}", hint="type more of the id")
    return matches[0]


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost; UsageError where nobody can be asked and `--yes` is absent."""
    import sys

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{question} Nobody can be asked here", hint="repeat with --yes, or see what: --dry-run"
        )
    if not typer.confirm(question, default=False, err=True):
        raise UsageError("nothing was changed")

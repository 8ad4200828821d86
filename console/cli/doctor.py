"""`xops doctor`: check this machine."""

from __future__ import annotations

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table
from pipeline.engine.config import find_workspace
from pipeline.engine.errors import ExitCode, NotFoundError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def doctor(json: Json = False) -> None:
    """Check this machine; exit status 4 when something asked for cannot work."""
    from pipeline.engine.doctor import examine

    try:
        workspace = find_workspace()
    except NotFoundError:
        workspace = None
    findings = examine(workspace)
    if json:
        emit_json({"findings": findings})
    else:
        rows = [(finding.status, finding.name, finding.detail, finding.fix) for finding in findings]
        emit_table(["status", "check", "found", "fix"], rows, empty="nothing to check")
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(int(ExitCode.NOT_READY))

"""`xops package`: whether a directory may be public, and a run's package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def audit(
    directory: Annotated[Path, typer.Argument(help="A package directory, ours or anybody's.")],
    json: Json = False,
) -> None:
    """Look into every file of a package: kinds, sizes, secrets, paths, and what its contract owes."""
    from pipeline.engine.errors import GateError
    from pipeline.package.audit import as_record, audit_package

    found = audit_package(directory)
    if json:
        emit_json(as_record(found))
    else:
        rows = [
            (file.path, f"{file.bytes:,}", file.kind, "; ".join(file.reasons) or "may leave")
            for file in found.files
        ]
        emit_table(["file", "bytes", "kind", "verdict"], rows, empty="no file")
        emit_text("")
        for issue in found.issues:
            emit_text(f"- {issue}")
        emit_text(f"{found.package_dir}: {found.status}, {len(found.issues)} issues")
    if found.issues:
        raise GateError(
            f"{directory} may not be public: {len(found.issues)} issues",
            hint="remove or redact what it lists",
        )

"""`xops package`: whether a directory may be public, and a run's package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import Json, RunId, find_run
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(run: RunId, json: Json = False) -> None:
    """Say what of a run goes out: its package, file by file, with the verdict of its own audit."""
    from pipeline.engine.errors import NotFoundError
    from pipeline.engine.files import read_json
    from pipeline.package.audit import AUDIT_FILE

    found = find_run(run)
    path = found.stage("package").out / AUDIT_FILE
    if not path.is_file():
        raise NotFoundError(
            f"run {found.run_id} has no package yet", hint=f"xops run start {found.run_id} --until package"
        )
    record = read_json(path)
    if json:
        emit_json(record)
        return
    redactions = record.get("redactions") or {}
    emit_table(
        ["file", "bytes", "kind", "redacted", "verdict"],
        [
            (
                file["path"],
                f"{file['bytes']:,}",
                file["kind"],
                redactions.get(file["path"]),
                "; ".join(file["reasons"]) or "goes out",
            )
            for file in record["files"]
        ],
        empty="no file",
    )
    emit_text(f"{record['status']}: {path.parent}")


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

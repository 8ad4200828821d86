"""`xops init`: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import DryRun, Json
from console.output import emit_json, emit_text
from pipeline.engine.errors import UsageError
from pipeline.engine.paths import WorkspacePaths

app = typer.Typer(rich_markup_mode=None)

TEMPLATE = """\
# A workspace of xops. Every key: xops config schema. What is in force and why: xops config show
name = {name}

[dataset]
repo_id = "ropedia-ai/xperience-10m"
# revision = "<commit>"           # pin it; empty means: resolve once, at selection

# [hosts.relay]
# address = "relay.example.org"   # what ssh takes; an alias of ~/.ssh/config works
# role = "relay"
# data_root = "/scratch/xperience10m_relay"

# [hosts.training]
# address = "user@training.example.org:22"
# role = "training"
# data_root = "/data/xperience10m_128"

# Parameters of stages, used when a run is created: [defaults.<stage>]
# [defaults.relay]
# chunk_parallel = 8
"""


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Directory to make a workspace of.")] = Path(),
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Make a workspace: an xops.toml to edit and a runs/ directory."""
    import msgspec

    paths = WorkspacePaths(directory.expanduser().absolute())
    if paths.config.exists():
        raise UsageError(f"{paths.config} exists already; nothing was changed", hint="xops config show")
    if not dry_run:
        paths.runs.mkdir(parents=True, exist_ok=True)
        name = msgspec.json.encode(paths.root.name).decode()  # a JSON string is a TOML basic string
        paths.config.write_text(TEMPLATE.format(name=name), "utf-8")
    if json:
        emit_json({"workspace": paths.root, "config": paths.config, "dry_run": dry_run})
    else:
        done = "would make" if dry_run else "made"
        emit_text(f"{done} workspace {paths.root}\nnext: edit {paths.config}, then: xops run new --help")

"""`xops serve`: the console in a browser on this machine."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stdout
from ipaddress import ip_address
from typing import Annotated

import typer

from console.cli.common import DryRun, Json
from console.output import emit_json
from pipeline.engine.config import find_workspace
from pipeline.engine.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8008,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Show the console in a browser; whoever reaches the port is the operator, so loopback only."""
    _require_loopback(host)
    workspace = find_workspace()
    url = f"http://{host}:{port}"
    if json or dry_run:
        emit_json({"url": url, "workspace": workspace.root, "dry_run": dry_run})
    if dry_run:
        return
    from textual_serve.server import Server

    from console.diagnostics import say

    say(f"the console is at {url}; Ctrl-C stops serving, not the runs")
    say(f"  from another machine: ssh -L {port}:{host}:{port} THIS_HOST")
    os.environ["XOPS_WORKSPACE"] = str(workspace.root)
    command = shlex.join([sys.executable, "-P", "-m", "console", "--display", "full"])
    with redirect_stdout(sys.stderr):  # the server's own words are not data
        Server(command, host=host, port=port, title="xops").serve()


def _require_loopback(host: str) -> None:
    """Refuse any address that others can reach: there is no login behind it."""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"{host} is not a loopback address; the console has no login",
            hint="serve on 127.0.0.1 and reach it with: ssh -L 8008:127.0.0.1:8008 THIS_HOST",
        )

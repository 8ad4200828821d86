"""The `xops` command tree: noun groups whose modules are imported only when they are used.

`COMMANDS` is the whole map; a group or command module is loaded when its name is typed (or help asks for
all of them), which keeps `xops run ls --json` far from Textual and from every stage.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from console.diagnostics import guarded

#: name -> (module with a typer `app`, whether it is a group, one line of help).
COMMANDS: dict[str, tuple[str, bool, str]] = {
    "init": ("console.cli.init", False, "Make a workspace in a directory."),
    "demo": ("console.cli.demo", False, "Run the embedded demo pipeline in a workspace of its own."),
    "watch": ("console.cli.watch", False, "Follow any directory of progress logs, or summarise it once."),
    "run": ("console.cli.run", True, "Create, list, plan, start, resume and cancel runs."),
    "stage": ("console.cli.stage", True, "Look into one stage of a run."),
    "spec": ("console.cli.spec", False, "Describe stages and recipes: parameters, defaults, gates."),
    "gate": ("console.cli.gate", True, "Look at gates; waive or sign them."),
    "events": ("console.cli.events", True, "Follow the events of a run."),
    "data": ("console.cli.data", True, "Episodes: inspect, generate, check, index, take out."),
    "relay": ("console.cli.relay", True, "Plan, run, steer, prove and repair a relay."),
    "registry": ("console.cli.registry", True, "Contracts of model branches: list, check, begin one."),
    "metrics": ("console.cli.metrics", True, "Recompute metrics from stored predictions."),
    "train": ("console.cli.train", True, "Look at a training before it runs."),
    "compare": ("console.cli.compare", False, "Compare two evaluations of the same questions."),
    "analyze": ("console.cli.analyze", False, "Show where an evaluation goes wrong."),
    "package": ("console.cli.package", True, "Look whether a directory may be public."),
    "config": ("console.cli.config", True, "Show, validate and describe the configuration."),
    "doctor": ("console.cli.doctor", False, "Check this machine: terminal, disks, GPUs, tools, sessions."),
    "handover": ("console.cli.handover", False, "Write the handover note of a run or workspace."),
    "serve": ("console.cli.serve", False, "Show the console in a browser on this machine."),
    "tty-reset": ("console.cli.tty", False, "Bring a terminal back that a killed program left broken."),
}


class LazyGroup(TyperGroup):
    """A command group that imports a subcommand's module when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of `COMMANDS`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The subcommand called `cmd_name`, or None."""
        del ctx
        return load_command(cmd_name)


def load_command(name: str) -> Any:
    """Import and build one entry of `COMMANDS`; None for an unknown name."""
    if name not in COMMANDS:
        return None
    module, is_group, summary = COMMANDS[name]
    app: typer.Typer = importlib.import_module(module).app
    command: Any = typer.main.get_group(app) if is_group else typer.main.get_command(app)
    command.name = name
    command.help = command.help or summary
    command.short_help = summary
    return command


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Operations console for Xperience-10M.",
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    workspace: str = typer.Option(
        "", "--workspace", "-w", help="Workspace directory (default: here or above)."
    ),
    display: str = typer.Option("auto", "--display", help="full, inline, plain, jsonl, none or auto."),
    read_only: bool = typer.Option(False, "--read-only", help="Refuse every act in the console."),
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Open the console on the workspace here; subcommands do the same work headless."""
    if version:
        from importlib.metadata import version as installed

        sys.stdout.write(f"xops {installed('xops')}\n")
        raise typer.Exit
    if workspace:
        import os

        os.environ["XOPS_WORKSPACE"] = workspace
    if context.invoked_subcommand is None:
        from console.open import open_console

        raise typer.Exit(open_console(display=display, read_only=read_only))


def run() -> None:
    """Run the command line and exit with a status of `ExitCode`."""
    sys.exit(guarded(_main))


def _main() -> None:
    command = typer.main.get_command(app)
    command.main(prog_name="xops")

"""`xops train plan`: what a training would need, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Look at a training before it runs."""


@app.command()
def plan(
    model_dir: Annotated[
        Path, typer.Option(help="Folder of the base checkpoint; its config.json is enough.")
    ],
    rows: Annotated[int, typer.Option(min=0, help="Rows of the train split; 0 if unknown.")] = 0,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="parameter=value of the train stage; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what each process of a training needs: memory by kind, parameters that learn, steps."""
    import msgspec

    from pipeline.engine.errors import UsageError
    from pipeline.qwen.memory import estimate
    from pipeline.qwen.settings import TrainSettings

    given = dict(one.partition("=")[::2] for one in options or ())
    try:
        settings = msgspec.convert(given, TrainSettings, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"no such training: {error}", hint="xops spec train") from None
    found = estimate(model_dir.expanduser(), settings) | {"steps": settings.steps(rows) if rows else None}
    if json:
        emit_json(found)
        return
    told = [(name, _told(name, value)) for name, value in found.items()]
    emit_table(["per process", "needs"], told, empty="nothing")


def _told(name: str, value: object) -> str:
    if isinstance(value, int) and name in {"weights", "trained", "activations", "total"}:
        from screens.widgets.units import spoken_bytes

        return spoken_bytes(value)
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

"""`xops spec`: what can be run, with which parameters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(rich_markup_mode=None)


@app.command()
def spec(
    stage: Annotated[str, typer.Argument(help="A stage; without it, all stages and recipes.")] = "",
    json: Json = False,
) -> None:
    """Describe one stage with its parameters, or list all stages and recipes."""
    if stage:
        _one(stage, json=json)
    else:
        _all(json=json)


def _all(*, json: bool) -> None:
    from pipeline.engine.registry import load_registry

    registry = load_registry()
    stages = [(s.name, ", ".join(s.needs), s.resume, s.gate, s.summary) for s in registry.stages.values()]
    recipes = [(r.name, ", ".join(r.stages), r.summary) for r in registry.recipes.values()]
    if json:
        named = ("name", "needs", "resume", "gate", "summary")
        emit_json(
            {
                "stages": [dict(zip(named, row, strict=True)) for row in stages],
                "recipes": [dict(zip(("name", "stages", "summary"), row, strict=True)) for row in recipes],
            }
        )
        return
    emit_table(["stage", "needs", "resumes by", "gate", "what it does"], stages, empty="no stages")
    emit_text("")
    emit_table(["recipe", "stages", "what it is"], recipes, empty="no recipes")


def _one(stage: str, *, json: bool) -> None:
    import msgspec

    from pipeline.engine.registry import load_registry

    found = load_registry().stage(stage)
    kind = found.params_type()
    defaults: dict[str, Any] = msgspec.to_builtins(kind())
    if json:
        emit_json({"stage": found, "parameters": defaults, "schema": msgspec.json.schema(kind)})
        return
    emit_text(
        f"{found.name}: {found.summary}\nneeds: {', '.join(found.needs) or '-'}\ngate: {found.gate or '-'}"
    )
    emit_table(["parameter", "default"], defaults.items(), empty="no parameters")
    emit_text("")
    emit_text(kind.__doc__ or "")

"""`xops config`: what is set, where it came from, whether it is valid."""

from __future__ import annotations

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table, emit_text
from pipeline.engine.config import LoadedConfig, WorkspaceConfig, find_workspace, load_config
from pipeline.engine.errors import NotFoundError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(json: Json = False) -> None:
    """Print every value with the file or variable that set it."""
    loaded = _load()
    rows = list(_flat(loaded))
    if json:
        emit_json({key: {"value": value, "origin": origin} for key, value, origin in rows})
    else:
        emit_table(["key", "value", "from"], rows, empty="nothing is set")


@app.command()
def validate(json: Json = False) -> None:
    """Check all layers; exit status 2 and every wrong key by name if something is wrong."""
    loaded = _load()
    if json:
        emit_json({"valid": True, "set": len(loaded.origins)})
    else:
        emit_text(f"valid: {len(loaded.origins)} values set, the rest are defaults")


@app.command()
def schema(json: Json = False) -> None:
    """Print the JSON Schema of xops.toml, for editors."""
    import msgspec

    del json  # a schema is JSON in either form
    emit_json(msgspec.json.schema(WorkspaceConfig))


def _load() -> LoadedConfig:
    try:
        return load_config(find_workspace())
    except NotFoundError:
        return load_config(None)


def _flat(loaded: LoadedConfig) -> list[tuple[str, object, str]]:
    import msgspec

    found: list[tuple[str, object, str]] = []

    def walk(value: object, at: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{at}.{key}" if at else str(key))
        else:
            found.append((at, value, loaded.origins.get(at, "default")))

    walk(msgspec.to_builtins(loaded.values), "")
    return found

"""Configuration: what may be set, where each value came from, and what is wrong with a file.

Layers, later wins: built-in defaults < `$XDG_CONFIG_HOME/xops/config.toml` < `<workspace>/xops.toml` <
`XOPS_<SECTION>__<KEY>` environment variables < command-line flags. Stages never read these files: a run
freezes what it needs in its `run.toml`.

Secrets do not belong here. The Hub token comes from huggingface_hub's own store or `HF_TOKEN`, SSH
identities from `~/.ssh` and the agent.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from pipeline.engine.errors import ConfigError, NotFoundError
from pipeline.engine.paths import CONFIG_FILE, WorkspacePaths

ENV_PREFIX = "XOPS_"

#: Environment variables with the prefix that are not configuration keys.
ENV_RESERVED = frozenset({"XOPS_WORKSPACE", "XOPS_DISPLAY", "XOPS_GLYPHS", "XOPS_PUBLISHED", "XOPS_REGISTRY"})


class DatasetConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The gated dataset on the Hub.

    Attributes:
        repo_id: `namespace/name` of the dataset repository.
        revision: commit to pin; empty means "resolve once, at selection, and record it".
        endpoint: Hub address; empty means huggingface_hub's own default.
    """

    repo_id: str = "ropedia-ai/xperience-10m"
    revision: str = ""
    endpoint: str = ""


class HostConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One machine that stages run on or bytes go to.

    Attributes:
        address: what ssh takes: an alias of `~/.ssh/config`, `host`, `user@host` or `user@host:port`.
        role: what the host is for.
        data_root: directory of the staged episodes there.
        ssh_key: path of the private key; empty means ssh's own choice.
    """

    address: str = "localhost"
    role: Literal["relay", "training", "other"] = "other"
    data_root: str = ""
    ssh_key: str = ""


class UiConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How the console looks.

    Attributes:
        theme: name of a theme; `auto` follows the terminal.
        glyphs: which characters charts and marks use; `auto` asks locale and TERM.
        frame_hz: how often changed panels are drawn at most, in hertz.
    """

    theme: str = "auto"
    glyphs: Literal["auto", "braille", "block", "ascii"] = "auto"
    frame_hz: Annotated[float, Meta(gt=0, le=30)] = 4.0


class WorkspaceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """All configuration of one workspace.

    Attributes:
        name: what the header shows; empty means the directory's name.
        dataset: where episodes come from.
        hosts: machines by the names operators use.
        defaults: stage name -> parameter -> value, used when a run is created.
        ui: the console.
    """

    name: str = ""
    dataset: DatasetConfig = DatasetConfig()
    hosts: dict[str, HostConfig] = {}
    defaults: dict[str, dict[str, Any]] = {}
    ui: UiConfig = UiConfig()


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration with the origin of every value that is not a built-in default.

    Attributes:
        values: the merged configuration.
        origins: dotted key -> the file or environment variable that set it last.
    """

    values: WorkspaceConfig
    origins: Mapping[str, str]


def find_workspace(start: Path | None = None) -> WorkspacePaths:
    """The workspace at or above `start` (default: `XOPS_WORKSPACE`, else the current directory).

    Raises:
        NotFoundError: no directory on the way up holds `xops.toml`.
    """
    given = start or Path(os.environ.get("XOPS_WORKSPACE") or Path.cwd())
    given = given.expanduser().absolute()
    for folder in (given, *given.parents):
        if (folder / CONFIG_FILE).is_file():
            return WorkspacePaths(folder)
    raise NotFoundError(
        f"no workspace at {given} or above it (no {CONFIG_FILE})",
        hint="make one with: xops init, or try: xops demo",
    )


def load_config(workspace: WorkspacePaths | None, environ: Mapping[str, str] | None = None) -> LoadedConfig:
    """Merge all layers and validate the result.

    Raises:
        ConfigError: a file cannot be read or parsed, or keys or values are wrong; all of them are named.
    """
    environ = os.environ if environ is None else environ
    files = (user_config_file(environ), workspace.config if workspace else None)
    layers = [(str(path), read_toml(path)) for path in files if path is not None and path.is_file()]
    layers.extend(_environment_layers(environ))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        _complain(origin, list(unknown_keys(layer, WorkspaceConfig)))
        _merge(merged, layer, origin, origins)
    try:
        values = msgspec.convert(merged, WorkspaceConfig, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_blame(error, origins), hint="xops config validate") from None
    return LoadedConfig(values, origins)


def user_config_file(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/xops/config.toml`."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "xops" / "config.toml"


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; ConfigError names file and line when it is not TOML or cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint=f"edit {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def unknown_keys(values: Mapping[str, Any], kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, closest known key or "") for every key that `kind` does not have."""
    known = get_type_hints(kind)
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            yield prefix + key, prefix + close[0] if close else ""
            continue
        yield from _unknown_below(value, known[key], f"{prefix}{key}.")


def _unknown_below(value: Any, hint: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield from unknown_keys(value, hint, prefix)
    elif get_origin(hint) is dict:
        inner = get_args(hint)[1]
        for name, entry in value.items():
            yield from _unknown_below(entry, inner, f"{prefix}{name}.")


def _complain(origin: str, unknown: list[tuple[str, str]]) -> None:
    if not unknown:
        return
    told = [f"{key} (did you mean {close}?)" if close else key for key, close in unknown]
    raise ConfigError(
        f"{origin}: unknown key{'s' * (len(told) > 1)} {', '.join(told)}", hint="xops config schema"
    )


def _merge(
    into: dict[str, Any], layer: Mapping[str, Any], origin: str, origins: dict[str, str], at: str = ""
) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            child = into.setdefault(key, {})
            if isinstance(child, dict):
                _merge(child, value, origin, origins, f"{at}{key}.")
                continue
        into[key] = value
        origins[f"{at}{key}"] = origin


def _environment_layers(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in ENV_RESERVED:
            continue
        nested: Any = text
        for part in reversed(name.removeprefix(ENV_PREFIX).lower().split("__")):
            nested = {part: nested}
        yield f"${name}", nested


def _blame(error: msgspec.ValidationError, origins: Mapping[str, str]) -> str:
    text = str(error)
    _, _, path = text.partition(" - at `$.")
    origin = origins.get(path.rstrip("`"))
    return f"{origin}: {text}" if origin else f"configuration: {text}"

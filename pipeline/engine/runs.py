"""Runs: creating one, reading its request, listing those of a workspace.

A run is frozen when it is made: `run.toml` (mode 0444) holds the recipe's stages, every parameter with its
default, the dataset and the hosts. Later changes of code defaults or configuration cannot reach it; a new
question is a new run, which takes over what did not change (`--from`).
"""

from __future__ import annotations

import re
import secrets
import time
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct, field

from pipeline.engine.config import DatasetConfig, HostConfig, WorkspaceConfig, unknown_keys
from pipeline.engine.errors import ConfigError, NotFoundError, UsageError, XopsError
from pipeline.engine.files import publish_bytes, publish_json
from pipeline.engine.journal import journalled
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.provenance import provenance
from pipeline.engine.registry import Recipe, Registry, StageSpec
from pipeline.engine.toml import dump

SCHEMA = 1

RunKind = Literal["smoke", "overfit", "pilot", "verified"]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of `run.toml`.

    Attributes:
        schema: version of this format.
        run_id: the run's id; its directory's name unless somebody renamed it.
        recipe: name of the recipe it started from.
        kind: only pilot and verified runs may be compared or packaged as results.
        created: Unix seconds.
        by: who made it, `user@host`.
        source: id of the run whose unchanged stages it takes over; empty for none.
        stages: names in order.
        shards: stage name -> number of strides it is split into.
        params: stage name -> every parameter.
        dataset: the dataset's configuration at creation.
        hosts: the hosts' configuration at creation.
    """

    schema: int = SCHEMA
    run_id: str
    recipe: str
    kind: RunKind
    created: float
    by: str = ""
    source: str = field(default="", name="from")
    stages: tuple[str, ...]
    shards: dict[str, int] = {}
    params: dict[str, dict[str, Any]] = {}
    dataset: DatasetConfig = DatasetConfig()
    hosts: dict[str, HostConfig] = {}

    @property
    def config(self) -> WorkspaceConfig:
        """The configuration stages of this run see."""
        return WorkspaceConfig(dataset=self.dataset, hosts=self.hosts)

    @property
    def dataset_identity(self) -> dict[str, Any]:
        """The part of the dataset's configuration that decides what is read, for fingerprints."""
        return {"repo_id": self.dataset.repo_id, "revision": self.dataset.revision}

    def stage_params(self, spec: StageSpec) -> msgspec.Struct:
        """The stage's parameters as its own type; imports the stage's module.

        Raises:
            ConfigError: run.toml holds a value that the type refuses.
        """
        return convert_params(spec, self.params.get(spec.name, {}), origin=f"run {self.run_id}")


class RunSummary(Struct, frozen=True, kw_only=True):
    """One line of a list of runs.

    Attributes:
        run_id: directory name.
        request: None when run.toml cannot be read.
        problem: why it cannot; empty otherwise.
    """

    run_id: str
    request: Request | None = None
    problem: str = ""


def create_run(
    workspace: WorkspacePaths,
    registry: Registry,
    config: WorkspaceConfig,
    *,
    recipe: str,
    kind: str = "pilot",
    slug: str = "",
    params: Mapping[str, Mapping[str, Any]] | None = None,
    shards: Mapping[str, int] | None = None,
    source: str = "",
    by: str = "",
) -> RunPaths:
    """Make a run directory with its frozen request.

    Parameters are, later wins: the stage's own defaults, the recipe's, the workspace's `[defaults]`, those
    of the run `source`, `params`.

    Args:
        workspace: where.
        registry: stages and recipes.
        config: the workspace's configuration, frozen into the run.
        recipe: name of the recipe; with `source` it may be empty and is then the source's.
        kind: smoke, overfit, pilot or verified.
        slug: part of the run id for people; the recipe's name if empty.
        params: stage name -> parameter -> value.
        shards: stage name -> number of strides.
        source: run to take unchanged stages over from.
        by: who asks, `user@host`.

    Raises:
        NotFoundError: no such recipe, stage or source run.
        ConfigError: a parameter is unknown or has a wrong value; did-you-mean included.
        UsageError: the kind is none, or a stage that cannot be split is asked to be.
    """
    if kind not in get_args(RunKind):
        raise UsageError(f"no run kind {kind!r}", hint=f"one of: {', '.join(get_args(RunKind))}")
    origin = load_request(workspace.run(source)) if source else None
    chosen = registry.recipe(recipe or (origin.recipe if origin else ""))
    _require_stages(registry, chosen, [*(params or {}), *(shards or {})])
    wanted = merged(chosen.params, config.defaults, origin.params if origin else {}, params or {})
    specs = list(registry.ordered(chosen))
    request = Request(
        run_id=new_run_id(slug or chosen.name),
        recipe=chosen.name,
        kind=msgspec.convert(kind, RunKind),
        created=time.time(),
        by=by,
        source=source,
        stages=tuple(spec.name for spec in specs),
        shards=_checked_shards(registry, {**(origin.shards if origin else {}), **(shards or {})}),
        params={spec.name: _frozen(spec, wanted.get(spec.name, {})) for spec in specs},
        dataset=config.dataset,
        hosts=config.hosts,
    )
    return _publish(workspace, request)


def load_request(run: RunPaths) -> Request:
    """The run's frozen request.

    Raises:
        NotFoundError: there is no such run.
        ConfigError: run.toml is damaged.
        UsageError: it was written by a newer version of xops.
    """
    try:
        raw = tomllib.loads(run.request.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"no run {run.run_id!r} in {run.root.parent}", hint="xops run ls") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{run.request} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{run.request} cannot be read: {error.strerror}") from None
    schema = raw.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(
            f"run {run.run_id} was made by a newer xops (schema {schema}, this one reads up to {SCHEMA})",
            hint="upgrade xops; its logs can still be read with: xops watch",
        )
    try:
        return msgspec.convert(raw, Request)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{run.request}: {error}") from None


def list_runs(workspace: WorkspacePaths) -> list[RunSummary]:
    """All runs, oldest first; those that cannot be read are listed with the reason."""
    found = []
    for run in workspace.list_runs():
        try:
            found.append(RunSummary(run_id=run.run_id, request=load_request(run)))
        except XopsError as error:
            found.append(RunSummary(run_id=run.run_id, problem=str(error)))
    return found


def new_run_id(slug: str) -> str:
    """`<UTC yyyymmdd-hhmmss>-<slug>-<4 hex>`; the slug is reduced to what a name may hold."""
    safe = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:60] or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{safe}-{secrets.token_hex(2)}"


def convert_params(spec: StageSpec, values: Mapping[str, Any], *, origin: str) -> msgspec.Struct:
    """`values` as the stage's parameter type; ConfigError names the wrong key and the one meant."""
    kind = spec.params_type()
    for key, close in unknown_keys(values, kind):
        meant = f" (did you mean {close}?)" if close else ""
        raise ConfigError(
            f"{origin}: {spec.name} has no parameter {key}{meant}", hint=f"xops spec {spec.name}"
        )
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{origin}: parameters of {spec.name}: {error}", hint=f"xops spec {spec.name}"
        ) from None


def merged(*layers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Stage -> parameter -> value with later layers winning, parameter by parameter."""
    result: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for stage, values in layer.items():
            result.setdefault(stage, {}).update(values)
    return result


def _require_stages(registry: Registry, recipe: Recipe, named: Iterable[str]) -> None:
    for stage in named:
        registry.stage(stage)
        if stage not in recipe.stages:
            has = f"it has: {', '.join(recipe.stages)}"
            raise UsageError(f"recipe {recipe.name} has no stage {stage}", hint=has)


def _checked_shards(registry: Registry, shards: dict[str, int]) -> dict[str, int]:
    for stage, count in shards.items():
        if not registry.stage(stage).shards:
            raise UsageError(f"stage {stage} cannot be split into shards")
        if not 1 <= count <= 1000:
            raise UsageError(f"stage {stage}: {count} shards; 1 to 1000 are possible")
    return {stage: count for stage, count in shards.items() if count > 1}


def _frozen(spec: StageSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    frozen: dict[str, Any] = msgspec.to_builtins(convert_params(spec, values, origin="the request"))
    return frozen


def _publish(workspace: WorkspacePaths, request: Request) -> RunPaths:
    run = workspace.run(request.run_id)
    text = dump(msgspec.to_builtins(request))
    run.stages.mkdir(parents=True)
    seeds = {stage: values["seed"] for stage, values in request.params.items() if "seed" in values}
    publish_json(run.resolved, {**provenance(), "seeds": seeds})
    publish_bytes(run.request, text.encode(), mode=0o444)
    with journalled(run, "new", who=request.by) as detail:
        detail.update(recipe=request.recipe, kind=request.kind, source=request.source)
    return run

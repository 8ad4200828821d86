"""What a stage and a recipe are: the table the planner, the CLI and the console read.

The engine defines the shape; `pipeline.stages` fills the table. A stage names its module as a string, so
that nothing here imports a stage, and a stage's module is imported only in the process that validates its
parameters or runs it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from pipeline.engine.errors import NotFoundError

#: Where the installation's stages are declared, `module:attribute`; a name, because the engine imports none.
DEFAULT_REGISTRY: Final = "pipeline.stages.table:REGISTRY"

ResumeUnit = Literal["whole", "batch", "chunk", "episode", "shard", "checkpoint", "sample"]


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage an operator can start.

    Attributes:
        name: what operators type; also the directory under `stages/`.
        summary: one line for lists and help.
        needs: stages whose outputs and gates this one waits for.
        module: dotted module with `Params` (a frozen msgspec Struct) and `run(context) -> None`.
        resume: the unit that a resumed attempt does not do again.
        gate: what its gate checks, in one line; empty when the stage has no gate.
        waivable: whether a person may waive that gate.
        grace_s: seconds between SIGTERM and SIGKILL.
        stall_s: seconds without an event after which a running attempt counts as stalled.
        shards: whether the stage can be split into strides k::n.
        retries: how often the conductor starts a failed or lost attempt again by itself.
        gpus: GPUs one process of the stage leases; 0 for none. A module's own `gpus(params)` goes first.
        version: raised when the stage's meaning changes, which makes earlier outputs stale.
        primary: roles of the outputs an operator opens first.
    """

    name: str
    summary: str
    module: str
    needs: tuple[str, ...] = ()
    resume: ResumeUnit = "whole"
    gate: str = ""
    waivable: bool = True
    grace_s: float = 5.0
    stall_s: float = 300.0
    shards: bool = False
    retries: int = 0
    gpus: int = 0
    version: int = 1
    primary: tuple[str, ...] = ()

    def params_type(self) -> type[msgspec.Struct]:
        """The stage's parameter type; imports the stage's (light) module."""
        params: type[msgspec.Struct] = importlib.import_module(self.module).Params
        return params


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered choice of stages with parameters that differ from the stages' own defaults."""

    name: str
    summary: str
    stages: tuple[str, ...]
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registry:
    """All stages and recipes of an installation."""

    stages: Mapping[str, StageSpec]
    recipes: Mapping[str, Recipe]

    def stage(self, name: str) -> StageSpec:
        """The stage called `name`.

        Raises:
            NotFoundError: there is none; the hint lists those that are.
        """
        try:
            return self.stages[name]
        except KeyError:
            raise NotFoundError(f"no stage {name!r}", hint=f"one of: {', '.join(self.stages)}") from None

    def recipe(self, name: str) -> Recipe:
        """The recipe called `name`; NotFoundError if there is none."""
        try:
            return self.recipes[name]
        except KeyError:
            raise NotFoundError(f"no recipe {name!r}", hint=f"one of: {', '.join(self.recipes)}") from None

    def ordered(self, recipe: Recipe) -> Iterator[StageSpec]:
        """The recipe's stages, each after the stages it needs (the recipe's order otherwise)."""
        seen: set[str] = set()

        def visit(name: str) -> Iterator[StageSpec]:
            if name in seen:
                return
            seen.add(name)
            spec = self.stage(name)
            for need in spec.needs:
                if need in recipe.stages:
                    yield from visit(need)
            yield spec

        for name in recipe.stages:
            yield from visit(name)


def load_registry(name: str = "") -> Registry:
    """The table of stages and recipes called `name` (default: `XOPS_REGISTRY`, else the installation's).

    Raises:
        NotFoundError: there is no such module or attribute, or it is not a table.
    """
    name = name or os.environ.get("XOPS_REGISTRY") or DEFAULT_REGISTRY
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute or "REGISTRY")
    except (ImportError, AttributeError) as error:
        raise NotFoundError(f"no table of stages at {name}: {error}", hint="unset XOPS_REGISTRY") from None
    if not isinstance(found, Registry):
        raise NotFoundError(f"{name} is not a table of stages", hint="unset XOPS_REGISTRY")
    return found

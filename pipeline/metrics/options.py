"""The label list an evaluation matched against, from whatever file still has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import UsageError
from pipeline.engine.files import read_json


class DatasetFacts(Struct, frozen=True, kw_only=True):
    """What a dataset manifest says that predictions alone do not.

    Attributes:
        options: action labels in matching order.
        split_counts: samples per split; empty where not stated.
        skipped_episodes: episodes that gave no sample, with the reason.
    """

    options: tuple[str, ...]
    split_counts: dict[str, int] = {}
    skipped_episodes: tuple[tuple[str, str], ...] = ()


def read_dataset_facts(path: Path) -> DatasetFacts:
    """Read a `dataset_manifest.json`, plain or merged from several scales.

    A merged manifest has no list of its own; the evaluations used the sorted union of its components'
    (formats 2.4; the published label lists confirm it).

    Raises:
        NotFoundError, DamagedFileError: there is no such file, or it is not JSON.
        UsageError: no action options are in it.
    """
    manifest = read_json(path)
    options = _options(manifest)
    if not options:
        raise UsageError(f"{path} has no action_options", hint="give the labels by --options FILE")
    counts = manifest.get("split_counts")
    return DatasetFacts(
        options=tuple(options),
        split_counts={str(k): v for k, v in counts.items() if isinstance(v, int)}
        if isinstance(counts, Mapping)
        else {},
        skipped_episodes=tuple(_skipped(manifest)),
    )


def read_options(path: Path) -> DatasetFacts:
    """Read labels from a JSON list, a JSON object with `action_options`, or one per line of a text file.

    Raises:
        NotFoundError, DamagedFileError: there is no such file, or it is broken JSON.
        UsageError: no labels are in it.
    """
    if path.suffix.lower() == ".json":
        found = read_json(path)
        labels = found if isinstance(found, list) else _options(found)
    else:
        labels = path.read_text(encoding="utf-8").splitlines()
    if not labels or not all(isinstance(label, str) for label in labels):
        raise UsageError(f"{path} is not a list of labels", hint="one label a line, or a JSON list")
    return DatasetFacts(options=tuple(label for label in labels if label.strip()))


def _options(manifest: Any) -> list[str]:
    if not isinstance(manifest, Mapping):
        return []
    if isinstance(own := manifest.get("action_options"), list):
        return [str(label) for label in own]
    return sorted({label for part in _components(manifest) for label in _options(part)})


def _components(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    components = manifest.get("components")
    for component in components if isinstance(components, list) else ():
        part = component.get("manifest") if isinstance(component, Mapping) else None
        if isinstance(part, Mapping):
            yield part


def _skipped(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    skipped = manifest.get("skipped_episodes")
    for episode in skipped if isinstance(skipped, list) else ():
        if isinstance(episode, Mapping):
            path = "/".join(str(episode.get("episode_path", "")).split("/")[-2:])
            yield path, str(episode.get("reason", ""))

"""What a training must show: rows of the right splits, required files, a log that ended, known weights."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from pipeline.backbones.contract import Contract
from pipeline.data.index.record import VOCABULARY_FILE
from pipeline.engine.files import read_json
from pipeline.verdicts.record import Question

#: Fields every row of a dataset must have.
ROW_FIELDS = ("id", "episode_id", "split", "center_window", "media", "question", "answer_json")


def dataset_questions(dataset: Path, episodes: Sequence[Mapping[str, Any]]) -> Iterator[Question]:
    """Of an exported dataset and the manifest it was made from.

    Args:
        dataset: the published folder of an export.
        episodes: entries of `episode_manifest.json`.
    """
    yield from manifest_questions(episodes)
    manifest = read_json(dataset / "dataset_manifest.json")
    splits: Counter[str] = Counter()
    homes: dict[str, set[str]] = defaultdict(set)
    media: dict[str, set[str]] = defaultdict(set)
    bad: list[str] = []
    train_labels: set[str] = set()
    ids: Counter[str] = Counter()
    for number, line in enumerate((dataset / "dataset.jsonl").open("rb"), 1):
        row = msgspec.json.decode(line)
        if any(field not in row for field in ROW_FIELDS):
            bad.append(f"line {number}")
            continue
        ids[row["id"]] += 1
        splits[row["split"]] += 1
        homes[row["episode_id"]].add(row["split"])
        for path in _paths(row):
            media[path].add(row["split"])
        if row["split"] == "train":
            train_labels |= {row["answer_json"]["action"], row["answer_json"]["next_action"]}
    stated = manifest.get("num_samples")
    total = sum(splits.values())
    yield Question("rows_conserved", "dataset", stated == total, f"{total} rows, the manifest says {stated}")
    yield Question(
        "row_fields", "dataset", not bad, f"{len(bad)} rows lack a field {', '.join(bad[:3])}".strip()
    )
    twice = [name for name, count in ids.items() if count > 1]
    yield Question(
        "unique_ids", "dataset", not twice, f"{len(twice)} ids occur twice {', '.join(twice[:3])}".strip()
    )
    empty = [split for split in ("train", "test") if not splits[split]]
    counts = ", ".join(f"{count} {split}" for split, count in splits.items())
    yield Question("splits_filled", "dataset", not empty, counts)
    shared = [name for name, found in homes.items() if len(found) > 1]
    yield Question("episodes_apart", "dataset", not shared, f"{len(shared)} episodes are in two splits")
    leaked = [path for path, found in media.items() if len(found) > 1]
    yield Question("media_apart", "dataset", not leaked, f"{len(leaked)} media files are in two splits")
    options = set(_options(dataset, manifest))
    foreign = options - train_labels
    yield Question(
        "labels_from_train",
        "dataset",
        not foreign,
        f"{len(options)} label options, {len(foreign)} of them in no answer of the train split",
    )


def manifest_questions(episodes: Sequence[Mapping[str, Any]]) -> Iterator[Question]:
    """Of the episode manifest alone."""
    ids = Counter(str(episode["episode_id"]) for episode in episodes)
    twice = [name for name, count in ids.items() if count > 1]
    yield Question(
        "unique_episodes", "manifest", not twice, f"{len(ids)} episodes, {len(twice)} listed twice"
    )
    sessions: dict[str, set[str]] = defaultdict(set)
    for episode in episodes:
        sessions[str(episode.get("top_level_session"))].add(str(episode["split"]))
    shared = [name for name, found in sessions.items() if len(found) > 1]
    yield Question(
        "sessions_apart",
        "manifest",
        not shared,
        f"{len(sessions)} sessions, {len(shared)} of them in two splits",
    )


def training_questions(
    train: Path, log: Path, contract: Contract, *, dataset_sha256: str, adapter_sha256: str
) -> Iterator[Question]:
    """Of one training.

    Args:
        train: its published folder.
        log: its `progress.jsonl` as the engine has it.
        contract: what it owes.
        dataset_sha256: of the dataset as it is now.
        adapter_sha256: of the weights as they are now.
    """
    meta = read_json(train / "training_metadata.json")
    names = [path.name for path in train.rglob("*") if path.is_file()]
    missing = [
        pattern
        for pattern in contract.artifact_contract.required_training_files
        if not any(fnmatch(name, pattern) for name in names)
    ]
    yield Question("training_files", "training", not missing, f"missing: {', '.join(missing) or 'none'}")
    yield Question(
        "trained_on_rows",
        "training",
        bool(meta.get("num_train_samples")),
        f"{meta.get('num_train_samples')} train and {meta.get('num_val_samples')} val rows",
    )
    yield Question(
        "processes", "training", bool(meta.get("num_processes")), f"{meta.get('num_processes')} processes"
    )
    last = _last_event(log)
    yield Question("training_complete", "training", last == "complete", f"the log ends in {last!r}")
    yield Question(
        "same_dataset",
        "training",
        meta.get("dataset_sha256") == dataset_sha256,
        f"trained on {str(meta.get('dataset_sha256'))[:12]}, the dataset is {dataset_sha256[:12]}",
    )
    yield Question(
        "same_adapter",
        "training",
        meta.get("adapter_sha256") == adapter_sha256,
        f"recorded {str(meta.get('adapter_sha256'))[:12]}, the weights are {adapter_sha256[:12]}",
    )


def _paths(row: Mapping[str, Any]) -> Iterator[str]:
    media = row["media"]
    for key in ("mosaic_video_path", "audio_path"):
        if media.get(key):
            yield str(media[key])
    if row.get("sensor_feature_path"):
        yield str(row["sensor_feature_path"])


def _options(dataset: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Every action option rows refer to."""
    vocabulary = dataset / VOCABULARY_FILE
    if not vocabulary.is_file():
        return list(manifest.get("action_options") or ())
    lists = read_json(vocabulary).get("action_options") or {}
    return [str(label) for labels in lists.values() for label in labels]


def _last_event(log: Path) -> str:
    try:
        lines = log.read_bytes().splitlines()
        return str(msgspec.json.decode(lines[-1]).get("event"))
    except (OSError, IndexError, msgspec.DecodeError, UnicodeDecodeError, AttributeError) as error:
        return f"no event: {error}"

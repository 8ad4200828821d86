"""A neutral window index as observations and actions of one kind.

Two passes: targets of every episode first, then what only the train split may decide (classes, objects,
normaliser, bins), then the rows. Arrays lie in one NPZ per episode; rows point into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.episode import open_episode
from pipeline.data.index.record import WindowRecord
from pipeline.data.layout import FPS
from pipeline.data.policy.kinds import KINDS, TOKEN_BINS, Kind
from pipeline.data.policy.normalize import Normalizer, denormalize, fit, from_tokens, normalize, to_tokens
from pipeline.data.policy.targets import Motion, Target, read_motion, state_of, target_of
from pipeline.engine.errors import XopsError
from pipeline.engine.files import publish_json

ROWS_FILE, MANIFEST_FILE = "policy.jsonl", "policy_manifest.json"
SPACE_FILE, STATS_FILE = "action_space.json", "normalization_stats.json"
AUDIT_FILE = "retargeting_audit.json"

#: Kinds whose target is one label, and whose target is a set of them.
CLASSES: frozenset[Kind] = frozenset({"action_class", "next_subtask"})
SETS: frozenset[Kind] = frozenset({"object_affordance"})


class Skipped(Struct, frozen=True):
    """A record that gave no row, and why."""

    id: str
    reason: str


@dataclass(slots=True)
class Made:
    """One record with its target.

    Attributes:
        record: of the index.
        target: see there.
        state: of the body in the last observed frame.
        place: row of its episode's arrays.
    """

    record: WindowRecord
    target: Target
    state: NDArray[np.float32]
    place: int = 0


@dataclass(slots=True)
class Policy:
    """An export in the making.

    Attributes:
        kind, steps: of the targets.
        made: rows, in the index's order.
        skipped: records without one.
        classes: labels or object names of the train split, sorted.
        normalizer: fitted on the train split; None for classes and sets.
        notes: episode -> array -> why it is not there.
    """

    kind: Kind
    steps: int
    made: list[Made] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    normalizer: Normalizer | None = None
    notes: dict[str, dict[str, str]] = field(default_factory=dict)


def make_policy(
    records: Iterable[WindowRecord],
    folders: Mapping[str, Path],
    *,
    kind: Kind,
    steps: int,
    told: Callable[[int], None] = lambda _: None,
) -> Policy:
    """Targets of all records, and what the train split decides.

    Args:
        records: of the index, grouped by episode or not.
        folders: episode id -> its folder.
        kind: of the targets.
        steps: frames of a future target.
        told: called with the number of episodes done.
    """
    policy = Policy(kind, steps)
    by_episode: dict[str, list[WindowRecord]] = {}
    for record in records:
        by_episode.setdefault(record.episode_id, []).append(record)
    for number, (episode, found) in enumerate(by_episode.items(), 1):
        _episode(policy, episode, found, folders.get(episode))
        told(number)
    _decide(policy)
    return policy


def publish_policy(policy: Policy, out: Path, *, run_id: str, dataset: str) -> dict[str, Any]:
    """Write rows, arrays, action space, statistics and manifest; returns the manifest."""
    (out / "arrays").mkdir(parents=True)
    for episode, made in _grouped(policy.made).items():
        np.savez(
            out / "arrays" / f"{episode}.npz",
            action=np.stack([_values(policy, one) for one in made]),
            is_pad=np.stack([one.target.is_pad for one in made]),
            state=np.stack([one.state for one in made]),
        )
    with (out / ROWS_FILE).open("wb") as stream:
        for one in policy.made:
            stream.write(msgspec.json.encode(_row(policy, one)) + b"\n")
    publish_json(out / SPACE_FILE, action_space(policy))
    publish_json(out / STATS_FILE, msgspec.to_builtins(policy.normalizer) if policy.normalizer else {})
    publish_json(out / AUDIT_FILE, retargeting_audit(policy))
    manifest = {
        "run_id": run_id,
        "dataset_contract": "xperience10m_observation_action_v0",
        "source_dataset": dataset,
        "kind": policy.kind,
        "num_samples": len(policy.made),
        "num_records": len(policy.made) + len(policy.skipped),
        "num_episodes": len(_grouped(policy.made)),
        "split_counts": dict(Counter(one.record.split for one in policy.made)),
        "skipped": dict(Counter(one.reason for one in policy.skipped)),
        "skipped_ids": [one.id for one in policy.skipped],
        "missing_arrays": policy.notes,
        "normalizer_sha256": policy.normalizer.sha256 if policy.normalizer else None,
    }
    publish_json(out / MANIFEST_FILE, manifest)
    return manifest


def action_space(policy: Policy) -> dict[str, Any]:
    """What an action is: kind, numbers, units, bounds of the train split, classes, bins."""
    spec, by = KINDS[policy.kind], policy.normalizer
    return {
        "kind": policy.kind,
        "rule": spec.rule,
        "unit": spec.unit,
        "dims": len(policy.classes) if policy.kind in SETS else spec.dims or 1,
        "steps": policy.steps if policy.kind not in CLASSES | SETS else 1,
        "fps": FPS,
        "future": spec.future,
        "classes": list(policy.classes),
        "low": list(by.low) if by else [],
        "high": list(by.high) if by else [],
        "bins": TOKEN_BINS if policy.kind == "action_token" else None,
        "normalizer_sha256": by.sha256 if by else None,
    }


def retargeting_audit(policy: Policy) -> dict[str, Any]:
    """How far the conversion of motion may be trusted: what was missing, and what going back loses."""
    spec, by = KINDS[policy.kind], policy.normalizer
    steps = sum(len(one.target.is_pad) for one in policy.made)
    padded = sum(int(one.target.is_pad.sum()) for one in policy.made)
    record: dict[str, Any] = {
        "kind": policy.kind,
        "retargeted": spec.retargeted,
        "sources": list(spec.sources),
        "rule": spec.rule,
        "padded_share": padded / steps if steps else 0.0,
        "missing_arrays": policy.notes,
    }
    if by is not None:
        values = _train_steps(policy)
        back = denormalize(normalize(values, by), by)
        record["round_trip_error"] = float(np.abs(back - values).max()) if len(values) else 0.0
        if policy.kind == "action_token":
            lost = np.abs(from_tokens(to_tokens(values, by), by) - values)
            inside = (values >= np.array(by.q01)) & (values <= np.array(by.q99))
            record["quantisation_error"] = float(lost[inside].mean()) if inside.any() else 0.0
            record["clipped_share"] = float(1 - inside.mean())
    return record


def _episode(policy: Policy, episode: str, records: Sequence[WindowRecord], folder: Path | None) -> None:
    motion: Motion | None = None
    reason = "the episode is not in the manifest"
    if folder is not None:
        try:
            with open_episode(folder) as opened:
                motion = read_motion(opened, opened.frame_count)
        except XopsError as error:
            reason = str(error)
    if motion is None:
        policy.skipped += [Skipped(record.id, reason) for record in records]
        return
    if motion.reasons:
        policy.notes[episode] = motion.reasons
    for record in records:
        window = record.window
        if window.end_frame >= motion.frames:
            policy.skipped.append(Skipped(record.id, "its window lies beyond the episode"))
            continue
        found = target_of(motion, policy.kind, window.start_frame, window.end_frame, policy.steps)
        if isinstance(found, str):
            policy.skipped.append(Skipped(record.id, found))
        else:
            policy.made.append(Made(record, found, state_of(motion, window.end_frame)))


def _decide(policy: Policy) -> None:
    """What only the train split may decide, and each row's place in its episode's arrays."""
    train = [one for one in policy.made if one.record.split == "train"]
    if policy.kind in CLASSES:
        policy.classes = tuple(sorted({one.target.label for one in train}))
    elif policy.kind in SETS:
        policy.classes = tuple(sorted({name for one in train for name in one.target.names}))
    else:
        policy.normalizer = fit((one.record.id, _real(one.target)) for one in train)
    for made in _grouped(policy.made).values():
        for place, one in enumerate(made):
            one.place = place


def _real(target: Target) -> NDArray[np.float64]:
    return target.values[~target.is_pad].astype(np.float64)


def _train_steps(policy: Policy) -> NDArray[np.float64]:
    parts = [_real(one.target) for one in policy.made if one.record.split == "train"]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def _values(policy: Policy, one: Made) -> NDArray[np.float32]:
    """What the array holds: a class's number (-1 where train never has it), a set as 0 and 1, or numbers."""
    if policy.kind in CLASSES:
        known = one.target.label in policy.classes
        number = policy.classes.index(one.target.label) if known else -1
        return np.array([[number]], np.float32)
    if policy.kind in SETS:
        return np.array([[float(name in one.target.names) for name in policy.classes]], np.float32)
    if policy.kind == "action_token" and policy.normalizer is not None:
        return to_tokens(one.target.values.astype(np.float64), policy.normalizer).astype(np.float32)
    return one.target.values


def _row(policy: Policy, one: Made) -> dict[str, Any]:
    record, spec = one.record, KINDS[policy.kind]
    window, media = record.window, record.modalities.media
    first = window.end_frame + 1 if spec.future else window.start_frame
    last = window.end_frame + policy.steps if spec.future else window.end_frame
    place = f"arrays/{record.episode_id}.npz"
    return {
        "id": f"{record.id}:{policy.kind}",
        "source_record_id": record.id,
        "episode_id": record.episode_id,
        "split": record.split,
        "observation": {
            "window": window,
            "mosaic_video_path": media.mosaic_video_path,
            "audio_path": media.audio_path,
            "sensor_features": record.modalities.sensor_features,
            "language": record.modalities.language.question,
            "state": {"array": f"{place}#state", "row": one.place, "dims": len(one.state)},
        },
        "action": {
            "kind": policy.kind,
            "frames": {"start_frame": first, "end_frame": last},
            "array": f"{place}#action",
            "is_pad": f"{place}#is_pad",
            "row": one.place,
            "label": one.target.label or None,
            "names": list(one.target.names),
            "seen_in_train": one.target.label in policy.classes if policy.kind in CLASSES else None,
        },
        "provenance": {
            "sources": list(spec.sources),
            "rule": spec.rule,
            "unit": spec.unit,
            "measured_steps": int((~one.target.is_pad).sum()),
            "normalizer_sha256": policy.normalizer.sha256 if policy.normalizer else None,
        },
    }


def _grouped(made: Iterable[Made]) -> dict[str, list[Made]]:
    groups: dict[str, list[Made]] = {}
    for one in made:
        groups.setdefault(one.record.episode_id, []).append(one)
    return groups

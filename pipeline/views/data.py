"""The data stages of a run as they published it: episodes, balance, conservation. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine.errors import XopsError
from pipeline.engine.files import read_json

#: Manifest flag -> the letter that stands for it, in the published order.
FLAGS: Mapping[str, str] = {
    "calibration": "C",
    "slam_pose": "S",
    "slam_point_cloud": "P",
    "depth": "D",
    "depth_confidence": "d",
    "hand_mocap": "H",
    "body_mocap": "B",
    "contacts": "T",
    "imu": "I",
    "caption": "L",
    "captions": "l",
}


class EpisodeLine(Struct, frozen=True):
    """One selected episode.

    Attributes:
        path: `<session>/ep<N>`.
        split, band: of the selection.
        frames: None where unknown.
        flags: a letter per modality that is there, `-` for one that is not.
        labelled: windows with an action, by the manifest.
        exported: windows exported; None before the export.
        findings: what QA says, the worst first.
        reason: why it is not used; empty when it is.
        task: what it is about.
        clip, sound: of its first exported window, relative to the dataset; empty where there is none.
    """

    path: str
    split: str = ""
    band: str = ""
    frames: int | None = None
    flags: str = ""
    labelled: int | None = None
    exported: int | None = None
    findings: tuple[str, ...] = ()
    reason: str = ""
    task: str = ""
    clip: str = ""
    sound: str = ""


class Balance(Struct, frozen=True):
    """How alike the splits are.

    Attributes:
        splits: split -> category -> episodes.
        divergence: split -> bits from all episodes.
        limit: most bits a split may have.
        swaps: exchanges the audit proposes.
    """

    splits: Mapping[str, Mapping[str, int]] = {}
    divergence: Mapping[str, float] = {}
    limit: float | None = None
    swaps: int = 0


class DataView(Struct, frozen=True):
    """All of it.

    Attributes:
        episodes: in the selection's order.
        balance: None before the audit.
        dataset: folder of the export; None before it.
    """

    episodes: tuple[EpisodeLine, ...] = ()
    balance: Balance | None = None
    dataset: Path | None = None

    @property
    def conservation(self) -> tuple[int, int, int, int]:
        """Selected, used, skipped with a reason, and still to be decided."""
        skipped = sum(1 for one in self.episodes if one.reason)
        used = sum(1 for one in self.episodes if not one.reason and one.exported)
        return len(self.episodes), used, skipped, len(self.episodes) - used - skipped


def read_data(outs: Mapping[str, Path]) -> DataView:
    """What the data stages published so far; what cannot be read is not there yet.

    Args:
        outs: stage -> its published folder, of those that are done.
    """
    lines: dict[str, dict[str, Any]] = {}
    for episode in _list(outs, "select", "selection.json", "selected_episodes"):
        path = str(episode.get("episode_path"))
        lines[path] = {"split": str(episode.get("split") or ""), "band": str(episode.get("size_band") or "")}
    _qa(outs, lines)
    _manifest(outs, lines)
    dataset = outs.get("export")
    if dataset is not None:
        _export(dataset, lines)
    made = tuple(EpisodeLine(path=path, **facts) for path, facts in lines.items())
    return DataView(made, _balance(outs), dataset)


def _qa(outs: Mapping[str, Path], lines: dict[str, dict[str, Any]]) -> None:
    for one in _list(outs, "discover", "qa.json", ""):
        found = [
            str(f.get("detail") or f) if isinstance(f, dict) else str(f) for f in one.get("findings") or ()
        ]
        lines.setdefault(str(one.get("episode")), {})["findings"] = tuple(found)


def _manifest(outs: Mapping[str, Path], lines: dict[str, dict[str, Any]]) -> None:
    for episode in _list(outs, "manifest", "episode_manifest.json", "episodes"):
        flags = episode.get("hdf5_modalities") or {}
        windows = (episode.get("label_stats") or {}).get("num_labeled_windows") or {}
        lines.setdefault(str(episode.get("episode_path")), {}).update(
            frames=episode.get("frame_count"),
            flags="".join(letter if flags.get(name) else "-" for name, letter in FLAGS.items()),
            labelled=windows.get("action"),
            task=str(episode.get("main_task") or ""),
            split=str(episode.get("split") or ""),
            band=str(episode.get("size_band") or ""),
        )
    for entry in _list(outs, "manifest", "episode_manifest.json", "missing_or_incomplete"):
        why = str(entry.get("reason") or f"missing: {', '.join(map(str, entry.get('missing') or ()))}")
        lines.setdefault(str(entry.get("episode_path")), {})["reason"] = why


class _Media(Struct):
    mosaic_video_path: str | None = None
    audio_path: str | None = None


class _Row(Struct):
    media: _Media


class _Exported(Struct):
    """The part of a record of `episodes.jsonl` that is shown."""

    episode_id: str
    skipped: str = ""
    rows: list[_Row] = []


def _export(dataset: Path, lines: dict[str, dict[str, Any]]) -> None:
    decoder = msgspec.json.Decoder(_Exported)
    try:
        records = [decoder.decode(line) for line in (dataset / "episodes.jsonl").open("rb")]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return
    for record in records:
        facts = lines.setdefault(record.episode_id.replace("__", "/", 1), {})
        facts["exported"] = len(record.rows)
        if record.skipped:
            facts["reason"] = record.skipped
        first = record.rows[0].media if record.rows else _Media()
        facts |= {"clip": first.mosaic_video_path or "", "sound": first.audio_path or ""}


def _balance(outs: Mapping[str, Path]) -> Balance | None:
    record = _json(outs, "audit", "balance.json")
    by_tag = record.get("by_tag") or {}
    if not by_tag:
        return None
    splits = {name: one for name, one in (by_tag.get("splits") or {}).items() if isinstance(one, dict)}
    return Balance(
        {name: dict(one.get("counts") or {}) for name, one in splits.items()},
        {name: float(one.get("divergence") or 0.0) for name, one in splits.items()},
        (record.get("limits") or {}).get("max_divergence"),
        len(record.get("swaps") or ()),
    )


def _list(outs: Mapping[str, Path], stage: str, name: str, key: str) -> list[dict[str, Any]]:
    content = _json(outs, stage, name)
    found = content.get(key) if key else content.get("", content)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _json(outs: Mapping[str, Path], stage: str, name: str) -> dict[str, Any]:
    """A published object; a list lies under the empty key."""
    folder = outs.get(stage)
    if folder is None:
        return {}
    try:
        content = read_json(folder / name)
    except XopsError:
        return {}
    return content if isinstance(content, dict) else {"": content}

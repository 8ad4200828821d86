"""What is really staged: local roots against the selection, episode by episode.

complete  all seven files, each of the selected size, and nothing found wrong with them
degraded  annotation and main camera are good, some side camera is missing or unusable
damaged   something is there, but annotation or main camera is missing, of the wrong size or unusable
absent    nothing is there

`source_discovery` writes the answer with the published file's keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from pipeline.data.layout import ANNOTATION, FILES, MAIN_VIDEO, VIDEOS
from pipeline.data.qa.record import EpisodeQa
from pipeline.data.splits import episode_id
from pipeline.engine.gates import Check

State = Literal["complete", "degraded", "damaged", "absent"]
STATES: tuple[State, ...] = ("complete", "degraded", "damaged", "absent")

#: Most names listed in a check's evidence; counts are always complete.
SHOWN = 20


class Wanted(Struct, frozen=True, kw_only=True):
    """An episode of the selection, as far as discovery needs it.

    Attributes:
        path: `<session>/ep<N>`.
        split: the selection's.
        sizes: bytes by file name, where the selection knows them; else only `annotation.hdf5`, or nothing.
    """

    path: str
    split: str
    sizes: dict[str, int] = {}


class Staged(Struct, frozen=True, kw_only=True):
    """What is there of one selected episode.

    Attributes:
        path, split: the selection's.
        folder: where it was found; empty if it was not.
        missing: files that are not there.
        wrong_size: file -> [expected, found] bytes.
        unusable: file -> what QA found wrong, for files that cannot be used.
        state: see the module.
        reason: why it is not complete, in one sentence.
    """

    path: str
    split: str
    folder: str
    missing: tuple[str, ...]
    wrong_size: dict[str, tuple[int, int]]
    unusable: dict[str, str] = {}
    state: State
    reason: str


def find_episode(wanted: Wanted, roots: Sequence[Path]) -> Staged:
    """Look for one episode by name and size, in the first root that has a folder of its path."""
    folder = next((root / wanted.path for root in roots if (root / wanted.path).is_dir()), None)
    if folder is None:
        return _staged(wanted, "", FILES, {}, {})
    missing, wrong = [], {}
    for name in FILES:
        path = folder / name
        if not path.is_file():
            missing.append(name)
        elif (size := path.stat().st_size) != wanted.sizes.get(name, size):
            wrong[name] = (wanted.sizes[name], size)
    return _staged(wanted, str(folder), tuple(missing), wrong, {})


def with_qa(staged: Staged, qa: EpisodeQa) -> Staged:
    """`staged` after its files were looked into."""
    unusable: dict[str, str] = {}
    for finding in qa.findings:
        if finding.severity == "fail" or finding.file in qa.lost:
            unusable.setdefault(finding.file or ANNOTATION, finding.detail)
    for name in staged.missing:
        unusable.pop(name, None)
    wanted = Wanted(path=staged.path, split=staged.split)
    return _staged(wanted, staged.folder, staged.missing, staged.wrong_size, unusable)


def _staged(
    wanted: Wanted,
    folder: str,
    missing: tuple[str, ...],
    wrong: dict[str, tuple[int, int]],
    unusable: dict[str, str],
) -> Staged:
    reasons = [f"{name} is missing" for name in missing]
    reasons += [
        f"{name} has {found} bytes instead of {expected}" for name, (expected, found) in wrong.items()
    ]
    reasons += [f"{name}: {problem}" for name, problem in unusable.items()]
    bad = {*missing, *wrong, *unusable}
    state: State = "complete"
    if len(missing) == len(FILES):
        state, reasons = "absent", ["no file of it is staged"]
    elif bad & {ANNOTATION, MAIN_VIDEO}:
        state = "damaged"
    elif bad:
        state = "degraded"
    return Staged(
        path=wanted.path,
        split=wanted.split,
        folder=folder,
        missing=missing,
        wrong_size=wrong,
        unusable=unusable,
        state=state,
        reason="; ".join(reasons),
    )


def find_others(roots: Sequence[Path], selected: Iterable[str]) -> list[str]:
    """Paths (relative to their root) of episodes that are staged although nobody selected them."""
    known = set(selected)
    found = {
        annotation.parent.relative_to(root).as_posix()
        for root in roots
        for annotation in root.rglob(ANNOTATION)
        if annotation.parent != root
    }
    return sorted(found - known)


def source_discovery(
    staged: Sequence[Staged],
    *,
    target: int,
    workspace: str,
    data_root: str,
    unselected: Sequence[str] = (),
    hub_files: Iterable[str] = (),
    hub_repo: str = "",
) -> dict[str, Any]:
    """The content of `source_discovery.json`, with the published keys.

    Args:
        staged: the selected episodes.
        target: degraded-valid episodes a source needs to be chosen; the published key that says whether
            there are so many is called `ready_for_32_episode_pilot` whatever the target is.
        workspace: for people.
        data_root: for people.
        unselected: episodes below the roots that nobody selected.
        hub_files: paths of a listing of the Hub; empty if it was not asked.
        hub_repo: the listing's repository.
    """
    local = _source("local", [_record("local", s.path, s.folder, _present(s)) for s in staged if s.folder])
    listed = _hub_records(hub_files, hub_repo)
    hub = _source("huggingface", listed, [] if listed else ["not asked, or nothing listed"])
    modelscope = _source("modelscope", [], ["not asked: the selection is pinned to the Hub"])
    sources = {"local": local, "modelscope": modelscope, "huggingface": hub}
    enough = [name for name, source in sources.items() if source["num_degraded_valid_episodes"] >= target]
    return {
        "target_episodes": target,
        "workspace": workspace,
        "data_root": data_root,
        "ready_for_32_episode_pilot": bool(enough),
        "selected_source": enough[0] if enough else "none",
        **{**sources, "local": {**local, "data_root": data_root}},
        "data_status_items": _status_items(staged, target, unselected),
    }


def _present(staged: Staged) -> set[str]:
    """Files that are there and good."""
    return set(FILES) - {*staged.missing, *staged.wrong_size, *staged.unusable}


def _record(source: str, path: str, place: str, present: set[str]) -> dict[str, Any]:
    videos = [name for name in VIDEOS if name in present]
    annotated, main = ANNOTATION in present, MAIN_VIDEO in present
    return {
        "source": source,
        "episode_id": episode_id(path),
        "episode_path": place,
        "has_annotation": annotated,
        "has_fisheye_cam0": main,
        "has_all_videos": len(videos) == len(VIDEOS),
        "has_any_video": bool(videos),
        "missing_views": [name for name in VIDEOS if name not in present],
        "is_degraded_valid": annotated and main,
        "is_complete": annotated and len(videos) == len(VIDEOS),
    }


def _hub_records(files: Iterable[str], repo: str) -> list[dict[str, Any]]:
    present: dict[str, set[str]] = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        if name in FILES and folder:
            present.setdefault(folder, set()).add(name)
    return [
        _record("huggingface", folder, f"huggingface:{repo}/{folder}", names)
        for folder, names in sorted(present.items())
    ]


def _source(name: str, episodes: list[dict[str, Any]], errors: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "source": name,
        "num_episodes": len(episodes),
        "num_degraded_valid_episodes": sum(episode["is_degraded_valid"] for episode in episodes),
        "num_complete_episodes": sum(episode["is_complete"] for episode in episodes),
        "errors": list(errors),
        "episodes": episodes,
    }


def _status_items(staged: Sequence[Staged], target: int, unselected: Sequence[str]) -> list[str]:
    counts = Counter(entry.state for entry in staged)
    items = [f"{counts[state]} of {len(staged)} selected episodes are {state}." for state in STATES]
    if unselected:
        items.append(f"{len(unselected)} further episodes are staged that nobody selected.")
    usable = counts["complete"] + counts["degraded"]
    if usable < target:
        items.append(f"Not enough degraded-valid episodes: need {target}, local has {usable}.")
    return items


def skipped(staged: Iterable[Staged], quarantine: Mapping[str, str]) -> dict[str, str]:
    """The episodes that later stages leave out, with the reason: absent, damaged or in quarantine."""
    reasons: dict[str, str] = {}
    for entry in staged:
        if entry.path in quarantine:
            reasons[entry.path] = f"in quarantine: {quarantine[entry.path]}"
        elif entry.state in ("absent", "damaged"):
            reasons[entry.path] = f"{entry.state}: {entry.reason}"
    return reasons


def discovery_checks(staged: Sequence[Staged], *, target: int, quarantine: Mapping[str, str]) -> list[Check]:
    """The gate: everything selected is staged, whole and usable, or the operator knows what is not.

    Args:
        staged: the selected episodes, after QA.
        target: usable episodes wanted, outside quarantine.
        quarantine: episode -> reason.
    """
    out = skipped(staged, quarantine)
    used = [entry for entry in staged if entry.path not in out]
    states = {state: [entry for entry in staged if entry.state == state] for state in STATES}
    counted = ", ".join(f"{len(entries)} {state}" for state, entries in states.items())
    kept_out = sum(path in quarantine for path in out)
    return [
        Check(
            name="episodes_conserved",
            ok=len(used) + len(out) == len(staged) and all(out.values()),
            detail=f"{len(staged)} selected = {len(used)} usable + {len(out)} left out "
            f"({counted}; {kept_out} in quarantine)",
            evidence={"left_out": out},
        ),
        _none("none_absent", states["absent"], "selected episodes are not staged"),
        _none("none_damaged", states["damaged"], "selected episodes are damaged"),
        _none("none_degraded", states["degraded"], "selected episodes lack a side camera"),
        Check(
            name="target_reached",
            ok=len(used) >= target,
            detail=f"{len(used)} usable episodes, {target} wanted",
            evidence={"splits": dict(Counter(entry.split for entry in used))},
        ),
    ]


def _none(name: str, entries: Sequence[Staged], what: str) -> Check:
    return Check(
        name=name,
        ok=not entries,
        detail=f"{len(entries)} {what}",
        evidence={"episodes": {entry.path: entry.reason for entry in entries[:SHOWN]}},
    )

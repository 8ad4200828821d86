"""The relay's acceptance gates, as pure functions from what was found to checks with evidence.

G1: exactly the selected files are staged, each with its size and hash. G2: no viewer file anywhere.
G3: as many sessions as episodes, counted from the staged paths themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from pipeline.engine.gates import Check
from pipeline.hub import names
from pipeline.hub.pool import Pool
from pipeline.hub.selection import Selection

#: Most names listed in a check's evidence; counts are always complete.
SHOWN = 20


class Staged(Struct, frozen=True):
    """One file found below a data root.

    Attributes:
        path: relative to the root, with `/`.
        size: bytes.
        sha256: as hashed on that host; None if it was not hashed.
    """

    path: str
    size: int
    sha256: str | None = None


def staged_checks(
    selection: Selection, staged: Iterable[Staged], *, target: int | None = None
) -> list[Check]:
    """G1, G2 and G3 for the files found below a data root.

    Args:
        selection: what should be there, with hashes.
        staged: every file below the root, also those that do not belong there.
        target: episodes (and sessions) that must be there; the selection's own number by default.
    """
    found = {file.path: file for file in staged}
    wanted = target or selection.target_episodes
    return [
        check_complete(selection, found),
        check_exact(selection, found),
        check_no_viewer_files(found),
        check_sessions(selection, found, wanted),
    ]


def check_complete(selection: Selection, found: Mapping[str, Staged]) -> Check:
    """G1, first half: every selected file is there with the selected size and hash."""
    expected = {file.path: file for file in selection.files()}
    missing = [path for path in selection.download_files if path not in found]
    unknown = [path for path in selection.download_files if path not in expected or not expected[path].sha256]
    shared = [path for path in expected if path in found]
    sizes = [path for path in shared if found[path].size != expected[path].size]
    hashes = [path for path in shared if path not in sizes and found[path].sha256 != expected[path].sha256]
    right = len(shared) - len(sizes) - len(hashes)
    return Check(
        name="staged_files_match_selection",
        ok=not (missing or sizes or hashes or unknown),
        detail=f"{right} of {len(selection.download_files)} files have the selected size and sha256; "
        f"{len(missing)} missing, {len(sizes)} of wrong size, {len(hashes)} of wrong or no hash"
        + (f", {len(unknown)} without a hash in the selection" if unknown else ""),
        evidence={
            "expected": len(selection.download_files),
            "right": right,
            "missing": missing[:SHOWN],
            "wrong_size": sizes[:SHOWN],
            "wrong_sha256": hashes[:SHOWN],
            "no_expected_sha256": unknown[:SHOWN],
            "damaged_episodes": dict(
                Counter(path.rpartition("/")[0] for path in (*missing, *sizes, *hashes)).most_common(SHOWN)
            ),
        },
    )


def check_exact(selection: Selection, found: Mapping[str, Staged]) -> Check:
    """G1, second half: nothing else is there."""
    extra = sorted(found.keys() - set(selection.download_files))
    return Check(
        name="nothing_else_staged",
        ok=not extra,
        detail=f"{len(extra)} files below the data root are not in the selection",
        evidence={"extra": extra[:SHOWN]},
    )


def check_no_viewer_files(paths: Iterable[str]) -> Check:
    """G2: no `*.rrd`, in whatever case or folder."""
    viewer = sorted(path for path in paths if names.is_excluded(path))
    return Check(
        name="no_viewer_files",
        ok=not viewer,
        detail=f"{len(viewer)} viewer files (*.rrd)",
        evidence={"found": viewer[:SHOWN]},
    )


def check_sessions(selection: Selection, paths: Iterable[str], target: int) -> Check:
    """G3: the staged paths hold `target` episodes of `target` different sessions, the selected ones."""
    parsed = [found for found in map(names.parse, paths) if found]
    episodes = {found.text for found in parsed}
    sessions = {found.session for found in parsed}
    selected = {episode.session for episode in selection.episodes}
    return Check(
        name="unique_sessions",
        ok=len(episodes) == len(sessions) == target and sessions == selected,
        detail=f"{len(episodes)} staged episodes of {len(sessions)} sessions; {target} of each are wanted",
        evidence={
            "episodes": len(episodes),
            "sessions": len(sessions),
            "not_selected": sorted(sessions - selected)[:SHOWN],
            "not_staged": sorted(selected - sessions)[:SHOWN],
        },
    )


def selection_checks(selection: Selection, pool: Pool | None = None) -> list[Check]:
    """What must hold for a selection before anything is moved.

    Args:
        selection: the selection.
        pool: what it was chosen from; None for a selection file that was taken as it is.
    """
    checks = [
        check_target(selection),
        check_no_viewer_files(selection.download_files),
        check_sessions(selection, selection.download_files, selection.target_episodes),
        check_split_sessions(selection),
        check_hashes(selection),
    ]
    if pool is not None:
        checks.append(check_conservation(pool))
    return checks


def check_target(selection: Selection) -> Check:
    """As many episodes as asked for."""
    counts = Counter(episode.split for episode in selection.episodes)
    return Check(
        name="target_reached",
        ok=len(selection.episodes) == selection.target_episodes,
        detail=f"{len(selection.episodes)} of {selection.target_episodes} episodes: "
        f"{counts['train']} train, {counts['val']} val, {counts['test']} test",
        evidence={"splits": dict(counts), "split_hash": selection.split_hash()},
    )


def check_split_sessions(selection: Selection) -> Check:
    """No session in two splits."""
    splits: dict[str, set[str]] = {}
    for episode in selection.episodes:
        splits.setdefault(episode.session, set()).add(episode.split)
    leaked = sorted(session for session, found in splits.items() if len(found) > 1)
    return Check(
        name="no_session_in_two_splits",
        ok=not leaked,
        detail=f"{len(leaked)} sessions in more than one split",
        evidence={"sessions": leaked[:SHOWN]},
    )


def check_hashes(selection: Selection) -> Check:
    """Size and sha256 of every file are known, so that the relay can prove what it moves."""
    known = sum(file.sha256 is not None for file in selection.files())
    return Check(
        name="every_file_hashed",
        ok=selection.hashed,
        detail=f"{known} of {len(selection.download_files)} files have a size and a sha256 at "
        f"{selection.commit[:12]}",
        evidence={"revision": selection.commit},
    )


def check_conservation(pool: Pool) -> Check:
    """Every complete episode of the listing is a candidate or rejected for a recorded reason."""
    reasons = Counter(pool.rejected.values())
    used = len(pool.candidates)
    return Check(
        name="episodes_conserved",
        ok=pool.complete == used + len(pool.rejected),
        detail=f"{pool.complete} complete = {used} candidates + {len(pool.rejected)} rejected; "
        f"{len(pool.incomplete)} incomplete",
        evidence={"rejected": dict(reasons), "incomplete": len(pool.incomplete)},
    )

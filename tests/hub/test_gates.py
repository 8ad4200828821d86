"""G1 to G3: one wrong byte count, hash, file or session turns the gate red and is named."""

import msgspec
import pytest

from pipeline.hub.choose import choose
from pipeline.hub.gates import Staged, selection_checks, staged_checks
from pipeline.hub.pool import SelectRules, make_pool
from tests.hub.conftest import random_listing

POOL = make_pool(random_listing(60, 2), SelectRules(target_episodes=16, min_annotation_gib=0))
SELECTION = choose(POOL)


def staged() -> dict[str, Staged]:
    return {file.path: Staged(file.path, file.size, file.sha256) for file in SELECTION.files()}


def failing(files: dict[str, Staged]) -> dict[str, dict[str, object]]:
    checks = staged_checks(SELECTION, files.values())
    return {check.name: check.evidence for check in checks if not check.ok}


def test_exactly_the_selection_is_green() -> None:
    checks = staged_checks(SELECTION, staged().values())
    assert [check.ok for check in checks] == [True] * 4
    assert checks[0].detail.startswith("112 of 112 files")


PATH = SELECTION.download_files[10]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"size": 1}, "wrong_size"),
        ({"sha256": "0" * 64}, "wrong_sha256"),
        ({"sha256": None}, "wrong_sha256"),
    ],
)
def test_one_wrong_file_is_named(change: dict[str, object], key: str) -> None:
    files = staged()
    files[PATH] = msgspec.structs.replace(files[PATH], **change)  # type: ignore[arg-type]
    found = failing(files)
    assert set(found) == {"staged_files_match_selection"}
    assert found["staged_files_match_selection"][key] == [PATH]


def test_a_missing_file_and_a_missing_episode() -> None:
    files = staged()
    del files[PATH]
    assert failing(files)["staged_files_match_selection"]["missing"] == [PATH]
    episode = SELECTION.episodes[3]
    without = {path: file for path, file in staged().items() if not path.startswith(episode.path)}
    found = failing(without)
    assert found["staged_files_match_selection"]["damaged_episodes"] == {episode.path: 7}
    assert found["unique_sessions"]["not_staged"] == [episode.session]


@pytest.mark.parametrize("name", ["visualization.rrd", "deep/down/X.RRD"])
def test_a_viewer_file_anywhere_is_red(name: str) -> None:
    path = f"{SELECTION.episodes[0].path}/{name}"
    found = failing({**staged(), path: Staged(path, 1)})
    assert found["no_viewer_files"]["found"] == [path]
    assert found["nothing_else_staged"]["extra"] == [path]


def test_a_second_episode_of_a_session_is_red() -> None:
    path = f"{SELECTION.episodes[0].session}/ep999/annotation.hdf5"
    found = failing({**staged(), path: Staged(path, 1)})
    assert found["unique_sessions"]["episodes"] == 17
    assert found["unique_sessions"]["sessions"] == 16


def test_another_session_in_place_of_a_selected_one_is_red() -> None:
    gone = SELECTION.episodes[2]
    files = {path: file for path, file in staged().items() if not path.startswith(f"{gone.path}/")}
    found = failing({**files, "stranger/ep1/annotation.hdf5": Staged("stranger/ep1/annotation.hdf5", 1)})
    assert found["unique_sessions"]["sessions"] == 16
    assert found["unique_sessions"]["not_selected"] == ["stranger"]


def test_a_selection_without_hashes_cannot_prove_anything() -> None:
    bare = msgspec.structs.replace(
        SELECTION, episodes=tuple(msgspec.structs.replace(e, files=()) for e in SELECTION.episodes)
    )
    checks = {check.name: check.ok for check in staged_checks(bare, staged().values())}
    assert checks["staged_files_match_selection"] is False
    assert {c.name for c in selection_checks(bare) if not c.ok} == {"every_file_hashed"}


def test_a_fresh_selection_passes_its_own_gate() -> None:
    assert all(check.ok for check in selection_checks(SELECTION, POOL))
    lost = msgspec.structs.replace(POOL, complete=POOL.complete + 1)
    assert [c.name for c in selection_checks(SELECTION, lost) if not c.ok] == ["episodes_conserved"]

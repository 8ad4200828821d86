"""The manifest: the published file's keys, the selection's split, nothing lost and nothing leaked."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.data.layout import MODALITIES
from pipeline.data.manifest.build import (
    Chosen,
    Description,
    Windowing,
    make_episode,
    random_manifest,
    selection_manifest,
)
from pipeline.data.manifest.checks import manifest_checks
from pipeline.data.manifest.record import (
    LabelStats,
    Manifest,
    ManifestEpisode,
    Missing,
    PerTarget,
    read_manifest,
)
from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError

LABELS = LabelStats(
    main_task="Folding, cutting",
    segments=2,
    frame_labels=PerTarget({'Cut "this", please': 40}, {"Fold\nthat": 40}),
    window_labels=PerTarget({'Cut "this", please': 2}, {"Fold\nthat": 2}),
    num_labeled_windows={"action": 2, "subtask": 2},
)


def entry(folder: Path, chosen: Chosen, labels: LabelStats = LABELS, *, videos: int = 6) -> ManifestEpisode:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotation.hdf5").write_bytes(b"x" * 100)
    names = [f"fisheye_cam{i}.mp4" for i in range(4)] + ["stereo_left.mp4", "stereo_right.mp4"]
    for name in names[:videos]:
        (folder / name).write_bytes(b"x" * 10)
    said = Description(frame_count=60, modalities=dict.fromkeys(MODALITIES, True), labels=labels)
    return make_episode(chosen, folder, said)


CHOSEN = [
    Chosen(path=f"s{n}/ep{n % 3}", split=split, rank=n + 1, score=0.5, band="short")
    for n, split in enumerate(["train", "train", "train", "val", "test"])
]


def made(tmp_path: Path, **options: Any) -> Manifest:
    described = {chosen.path: entry(tmp_path / chosen.path, chosen) for chosen in CHOSEN[:-1]}
    skipped = {CHOSEN[-1].path: Missing(CHOSEN[-1].path, "test", ("annotation.hdf5",), "damaged: torn")}
    return selection_manifest(
        CHOSEN,
        described,
        skipped,
        selection="selection.json",
        data_roots=[str(tmp_path)],
        windowing=Windowing(),
        **options,
    )


def failed(manifest: Manifest, **options: Any) -> set[str]:
    return {check.name for check in manifest_checks(manifest, CHOSEN, **options) if not check.ok}


def test_the_published_manifest_is_read_whole(published: Path) -> None:
    path = published / "omni" / "episode_manifest.json"
    manifest = read_manifest(path)
    assert json.loads(msgspec.json.encode(manifest)) == json.loads(path.read_bytes())
    assert sum(not episode.labelled_windows for episode in manifest.episodes) == 9


def test_the_published_manifest_and_selection_agree(published: Path) -> None:
    manifest = read_manifest(published / "omni" / "episode_manifest.json")
    selection = json.loads((published / "omni" / "xperience10m_128_episode_selection.json").read_bytes())
    selected = [
        Chosen(
            path=e["episode_path"],
            split=e["split"],
            rank=e["selection_rank"],
            score=e["selection_score"],
            band=e["size_band"],
        )
        for e in selection["selected_episodes"]
    ]
    checks = manifest_checks(manifest, selected)
    assert [check.name for check in checks if not check.ok] == []
    by_name = {check.name: check for check in checks}
    assert by_name["labels_available"].detail.startswith("9 of 128 episodes")
    assert len(by_name["labels_available"].evidence["unlabelled"]) == 9
    assert "14 labelled test" in by_name["splits_not_empty"].detail
    for episode, chosen in zip(manifest.episodes, selected, strict=True):
        assert (episode.selection_rank, episode.selection_score, episode.size_band) == (
            chosen.rank,
            chosen.score,
            chosen.band,
        )


def test_an_entry_has_the_published_keys_in_their_order(published: Path, tmp_path: Path) -> None:
    theirs = json.loads((published / "omni" / "episode_manifest.json").read_bytes())
    ours = json.loads(msgspec.json.encode(made(tmp_path)))
    assert list(ours["episodes"][0]) == list(theirs["episodes"][0])
    assert len(ours["episodes"][0]) == 22
    for key in ("label_stats", "hdf5_modalities"):
        assert list(ours["episodes"][0][key]) == list(theirs["episodes"][0][key])
    assert [file["name"] for file in ours["episodes"][0]["files"]] == [
        file["name"] for file in theirs["episodes"][0]["files"]
    ]
    assert list(ours["summary"])[: len(theirs["summary"])] == list(theirs["summary"])
    assert list(ours) == list(theirs)


def test_sizes_ids_and_paths(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    first = manifest.episodes[0]
    assert (first.episode_id, first.path, first.source_episode_id) == ("s0__ep0", "s0/ep0", "ep0")
    assert (first.total_bytes, first.train_minimal_bytes, first.has_rrd) == (160, 160, False)
    (tmp_path / "s0" / "ep0" / "visualization.rrd").write_bytes(b"x" * 1000)
    again = made(tmp_path).episodes[0]
    assert (again.total_bytes, again.train_minimal_bytes, again.has_rrd) == (1160, 160, True)
    assert len({episode.episode_id for episode in manifest.episodes}) == 4


def test_a_good_manifest_passes_except_for_what_is_missing(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    assert failed(manifest) == {"splits_not_empty"}  # the only test episode is damaged
    assert manifest.missing_or_incomplete[0].reason == "damaged: torn"


def test_an_episode_without_all_cameras_is_left_out_with_their_names(tmp_path: Path) -> None:
    described = {chosen.path: entry(tmp_path / chosen.path, chosen, videos=5) for chosen in CHOSEN[:1]}
    described |= {chosen.path: entry(tmp_path / chosen.path, chosen) for chosen in CHOSEN[1:]}
    options: dict[str, Any] = {"selection": "", "data_roots": [], "windowing": Windowing()}
    strict = selection_manifest(CHOSEN, described, {}, **options)
    assert strict.missing_or_incomplete[0].missing == ("stereo_right.mp4",)
    assert failed(strict) == set()
    tolerant = selection_manifest(CHOSEN, described, {}, require_all_videos=False, **options)
    assert len(tolerant.episodes) == 5
    assert not tolerant.episodes[0].has_all_videos


def test_sealed_splits_are_counted_and_conserved(tmp_path: Path) -> None:
    described = {chosen.path: entry(tmp_path / chosen.path, chosen) for chosen in CHOSEN}
    manifest = selection_manifest(
        CHOSEN, described, {}, selection="", data_roots=[], windowing=Windowing(), include=("train", "val")
    )
    assert manifest.summary["sealed_test_episodes_available"] == 1
    assert {episode.split for episode in manifest.episodes} == {"train", "val"}
    assert failed(manifest) == set()


def test_the_gate_finds_a_lost_a_doubled_and_a_moved_episode(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    lost = msgspec.structs.replace(manifest, episodes=manifest.episodes[1:])
    doubled = msgspec.structs.replace(manifest, episodes=manifest.episodes + manifest.episodes[:1])
    moved = msgspec.structs.replace(
        manifest,
        episodes=(msgspec.structs.replace(manifest.episodes[0], split="val"), *manifest.episodes[1:]),
    )
    assert "episodes_conserved" in failed(lost)
    assert "episodes_conserved" in failed(doubled)
    assert "split_is_the_selections" in failed(moved)


def test_the_gate_finds_leaks_of_sessions_and_contents(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    twin = msgspec.structs.replace(manifest.episodes[0], episode_id="s0__ep9", split="val")
    leaking = msgspec.structs.replace(manifest, episodes=(*manifest.episodes, twin))
    assert {"no_session_in_two_splits", "no_file_in_two_splits"} <= failed(leaking)
    same = {CHOSEN[0].path: ["aa"], CHOSEN[3].path: ["aa"]}
    assert "no_content_in_two_splits" in failed(manifest, contents=same)


def test_unlabelled_episodes_fail_the_gate_beyond_their_share(tmp_path: Path) -> None:
    described = {chosen.path: entry(tmp_path / chosen.path, chosen) for chosen in CHOSEN}
    described[CHOSEN[0].path] = entry(tmp_path / CHOSEN[0].path, CHOSEN[0], LabelStats())
    manifest = selection_manifest(CHOSEN, described, {}, selection="", data_roots=[], windowing=Windowing())
    assert failed(manifest) == {"labels_available"}
    assert failed(manifest, max_unlabelled_share=0.2) == set()


def test_a_modality_that_one_split_lacks_is_named(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    blind = msgspec.structs.replace(
        manifest.episodes[3], hdf5_modalities={**manifest.episodes[3].hdf5_modalities, "imu": False}
    )
    uneven = msgspec.structs.replace(manifest, episodes=(*manifest.episodes[:3], blind))
    (check,) = [c for c in manifest_checks(uneven, CHOSEN) if c.name == "modalities_in_every_split"]
    assert not check.ok
    assert "imu in val" in check.detail


def test_a_random_split_says_that_it_is_new(tmp_path: Path, published: Path) -> None:
    described = [entry(tmp_path / chosen.path, chosen) for chosen in CHOSEN]
    manifest = random_manifest(described, data_roots=[str(tmp_path)], windowing=Windowing())
    assert "NEW RANDOM SPLIT" in manifest.summary["notes"][0]
    assert manifest.summary["split_fractions"] == {"train": 0.75, "val": 0.125, "test": 0.125, "seed": 7}
    assert sum(manifest.summary["split_counts"].values()) == 5
    assert {check.name for check in manifest_checks(manifest, []) if not check.ok} == set()
    with pytest.raises(UsageError, match="appears twice"):
        random_manifest([described[0], described[0]], data_roots=[], windowing=Windowing())


def test_reading_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_manifest(tmp_path / "episode_manifest.json")
    (tmp_path / "episode_manifest.json").write_text('{"summary": {}, "episodes": [{"episode_id": 3}]}')
    with pytest.raises(DamagedFileError, match=r"episodes\[0\]\.episode_id|Expected `str`"):
        read_manifest(tmp_path / "episode_manifest.json")

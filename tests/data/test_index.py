"""The neutral window index: the contract's records, from foreign rows of any quality."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pipeline.data.index.build import build_index
from pipeline.data.index.record import read_index
from pipeline.data.index.roots import PathRefusedError, Roots
from pipeline.data.index.validate import validate_index
from pipeline.data.index.vocabulary import read_vocabulary
from pipeline.engine.errors import CancelledByOperatorError, DamagedFileError, NotFoundError
from tests.data.rows import ACTIONS, DATA, DATASET, SUBTASKS, row, rows, write_rows


def build(tmp_path: Path, made: Any, **options: Any) -> Any:
    dataset = write_rows(tmp_path / "dataset" / "dataset.jsonl", made)
    return build_index(dataset, tmp_path / "index", **options)


def records(tmp_path: Path) -> list[dict[str, Any]]:
    data = (tmp_path / "index" / "window_index.jsonl").read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def test_a_record_has_the_contracts_keys(tmp_path: Path) -> None:
    build(tmp_path, [row(3, 2)])
    (record,) = records(tmp_path)
    assert list(record) == [
        "id",
        "source_record_id",
        "episode_id",
        "split",
        "target",
        "prompt_type",
        "window",
        "modalities",
        "supervision",
        "adapter_views",
        "provenance",
    ]
    assert list(record["modalities"]) == ["media", "sensor_features", "language"]
    assert list(record["modalities"]["media"]) == [
        "video_streams",
        "mosaic_video_path",
        "audio_path",
        "context_window",
    ]
    assert record["window"] == {"start_frame": 40, "end_frame": 59, "num_frames": 20}
    assert record["supervision"]["json_answer"] == row(3, 2)["answer_json"]
    assert record["supervision"]["next_action"] == ACTIONS[3]
    views = record["adapter_views"]
    assert views["qwen3_omni_lora"] == {
        "sample_contract": "video/audio/text/messages -> strict JSON answer",
        "messages_available": True,
        "direct_modalities": ["mosaic_video", "audio", "language_prompt"],
        "bridged_modalities": ["sensor_features_npz"],
    }
    assert views["cosmos_world_model"]["context_window"] == {"start_frame": 0, "end_frame": 119}
    assert len(views["cosmos_world_model"]["candidate_targets"]) == 5
    assert len(views["policy_vla_branch"]["candidate_targets"]) == 6
    assert views["policy_vla_branch"]["observation_window"] == record["window"]
    assert record["provenance"]["dataset_record_fields"] == sorted(row())


def test_no_path_of_this_host_is_in_the_records(tmp_path: Path) -> None:
    result = build(tmp_path, rows(2, 3))
    assert result.manifest["roots"] == {"data": DATA, "dataset": DATASET}
    media = records(tmp_path)[0]["modalities"]["media"]
    assert media["video_streams"][0]["path"] == "00000000-0000-4000-8000-000000000000/ep1/fisheye_cam0.mp4"
    assert media["mosaic_video_path"].startswith("media/00000000")
    assert DATASET not in (tmp_path / "index" / "window_index.jsonl").read_text()


def test_label_lists_are_written_once(tmp_path: Path) -> None:
    build(tmp_path, rows(4, 5))
    language = [record["modalities"]["language"] for record in records(tmp_path)]
    assert len({entry["action_options"]["$ref"] for entry in language}) == 1
    lists = read_vocabulary(tmp_path / "index" / "label_vocabulary.json")
    (record, *_) = read_index(tmp_path / "index" / "window_index.jsonl")
    assert lists.resolve(record.modalities.language.action_options) == tuple(ACTIONS)  # type: ignore[arg-type]
    assert lists.resolve(record.modalities.language.subtask_options) == tuple(SUBTASKS)  # type: ignore[arg-type]


def test_the_lists_stay_inside_when_asked(tmp_path: Path) -> None:
    build(tmp_path, [row()], inline_options=True)
    assert records(tmp_path)[0]["modalities"]["language"]["action_options"] == ACTIONS
    assert validate_index(tmp_path / "index") == []


def test_rows_that_refer_to_a_vocabulary_are_followed(tmp_path: Path) -> None:
    build(tmp_path, [row()])
    index = tmp_path / "index"
    options = {
        kind: records(tmp_path)[0]["modalities"]["language"][kind]
        for kind in ("action_options", "subtask_options")
    }
    again = tmp_path / "again"
    write_rows(again / "dataset" / "dataset.jsonl", [row(**options), row(1, **options, label=None)])
    (again / "dataset" / "label_vocabulary.json").write_bytes((index / "label_vocabulary.json").read_bytes())
    result = build_index(again / "dataset" / "dataset.jsonl", again / "index")
    assert (result.num_records, result.num_skipped) == (2, 0)
    assert validate_index(again / "index") == []
    dangling = {"$ref": "label_vocabulary.json#/action_options/none"}
    result = build(tmp_path / "dangling", [row(action_options=dangling)])
    assert "points at nothing" in result.manifest["skipped_records"][0]["reason"]


def test_the_manifest_counts_and_hashes(tmp_path: Path) -> None:
    result = build(tmp_path, [*rows(8, 4), row(8, 0, media={"video_paths": []}, sensor_feature_path=None)])
    manifest = json.loads((tmp_path / "index" / "window_index_manifest.json").read_text())
    assert manifest == result.manifest
    assert manifest["sample_split_counts"] == {"train": 25, "val": 4, "test": 4}
    assert manifest["episode_split_counts"] == {"train": 7, "val": 1, "test": 1}
    assert manifest["num_episodes"] == 9
    assert manifest["modality_record_counts"]["mosaic_video"] == 32
    assert manifest["missing_modality_counts"] == {
        "mosaic_video": 1,
        "audio": 1,
        "sensor_features": 1,
        "language": 0,
    }
    for name in ("window_index.jsonl", "label_vocabulary.json"):
        digest = hashlib.sha256((tmp_path / "index" / name).read_bytes()).hexdigest()
        assert manifest["sha256"][name] == digest
    source = (tmp_path / "dataset" / "dataset.jsonl").read_bytes()
    assert manifest["sha256"]["source_dataset_jsonl"] == hashlib.sha256(source).hexdigest()


def test_what_is_missing_is_not_claimed(tmp_path: Path) -> None:
    build(
        tmp_path,
        [
            row(
                media={"video_paths": []},
                sensor_feature_path=None,
                question=None,
                messages=[],
                answer_json=None,
            )
        ],
    )
    (record,) = records(tmp_path)
    assert record["adapter_views"]["cosmos_world_model"]["available_conditioning"] == []
    assert record["adapter_views"]["qwen3_omni_lora"]["messages_available"] is False
    assert record["supervision"] == {
        "json_answer": {},
        "action": "unknown",
        "subtask": "unknown",
        "objects": [],
        "contact": "unknown",
        "transition": "unknown",
        "next_action": "unknown",
        "evidence_window": {},
    }


def without(key: str) -> dict[str, Any]:
    made = row()
    del made[key]
    return made


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"id": "torn\n', "malformed"),
        ("[1, 2]\n", "Expected `object`"),
        ("NaN\n", "invalid character"),
        (without("id"), "missing required field `id`"),
        (without("center_window"), "missing required field `center_window`"),
        (
            row(0, 9, center_window={"start_frame": "0", "end_frame": 19, "num_frames": 20}),
            "$.center_window.start_frame",
        ),
        (row(0, 9, sensor_feature_path="/elsewhere/x.npz"), "not below the dataset root"),
        (row(0, 9, sensor_feature_path=f"{DATASET}/../../etc/passwd"), "leaves its root"),
        (row(0, 9, sensor_feature_path="sensor\x1b[2J"), "control characters"),
        (row(0, 9, answer_json={"objects": "cup"}), "Expected `array`"),
        (row(0, 9, action_options=[1, 2]), "Expected"),
        (row(), "a second time"),
    ],
)
def test_a_bad_row_is_skipped_with_its_line_and_reason(tmp_path: Path, bad: Any, reason: str) -> None:
    result = build(tmp_path, [row(), "\n", bad, row(1)])
    assert result.num_rows == result.num_records + result.num_skipped
    assert result.num_skipped >= 1
    first = result.manifest["skipped_records"][0]
    assert first["line"] == 3
    assert reason in first["reason"]


def test_an_id_without_a_split_is_unspecified_and_the_leakage_gate_says_so(tmp_path: Path) -> None:
    result = build(tmp_path, [without("split")])
    assert records(tmp_path)[0]["split"] == "unspecified"
    assert {check.name for check in result.leaks.checks() if not check.ok} == {"splits_known"}


def test_a_media_file_of_two_splits_is_a_leak(tmp_path: Path) -> None:
    shared = row(0)["media"]
    result = build(tmp_path, [row(0), row(1, split="test", media={**shared, "video_paths": []})])
    failed = {check.name: check for check in result.leaks.checks() if not check.ok}
    assert set(failed) == {"no_file_in_two_splits"}
    assert len(failed["no_file_in_two_splits"].evidence["leaks"]) == 2


def test_options_that_train_never_sees_are_named(tmp_path: Path) -> None:
    result = build(tmp_path, [row(0, 0), row(7, 5, split="test")])
    assert ACTIONS[0] not in result.unseen_options["action_options"]
    assert ACTIONS[5] in result.unseen_options["action_options"]


def test_a_cancelled_build_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        raise CancelledByOperatorError("stopped")

    with pytest.raises(CancelledByOperatorError):
        build(tmp_path, rows(2, 2), check_cancelled=stop)
    assert list((tmp_path / "index").iterdir()) == []


def test_no_dataset_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"dataset\.jsonl does not exist"):
        build_index(tmp_path / "dataset.jsonl", tmp_path / "index")


def test_the_published_dataset_converts(published: Path, tmp_path: Path) -> None:
    source = published / "omni" / "dataset.jsonl"
    result = build_index(source, tmp_path / "index")
    assert (result.num_records, result.num_skipped) == (128, 0)
    assert validate_index(tmp_path / "index", source=source) == []
    assert result.manifest["num_episodes"] == 1
    assert result.manifest["source_dataset_summary"]["num_samples"] == 3808
    first, *_ = read_index(tmp_path / "index" / "window_index.jsonl")
    assert first.modalities.media.video_streams[0].path == "xperience-10m-sample/fisheye_cam0.mp4"
    assert first.supervision.objects == ("kettle", "coffee dripper", "scale", "bottle")


# --- the validator -----------------------------------------------------------------------------------


def issues_after(tmp_path: Path, change: Any) -> list[str]:
    """Build a valid index of three records, let `change` edit the second, validate."""
    build(tmp_path, rows(1, 3))
    path = tmp_path / "index" / "window_index.jsonl"
    found = records(tmp_path)
    change(found[1])
    write_rows(path, found)
    manifest = json.loads((tmp_path / "index" / "window_index_manifest.json").read_text())
    manifest["sha256"]["window_index.jsonl"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "index" / "window_index_manifest.json").write_text(json.dumps(manifest))
    return [
        str(issue)
        for issue in validate_index(tmp_path / "index", source=tmp_path / "dataset" / "dataset.jsonl")
    ]


def put(path: str, value: Any) -> Any:
    def change(record: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for name in parents:
            record = record[name]
        record[last] = value

    return change


ID = "00000000-0000-4000-8000-000000000000__ep1:qa:1"


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        (put("window.end_frame", 5), f"line 2 (id '{ID}'): window: frames 20 to 5 are no window"),
        (put("window.num_frames", 7), "window.num_frames: 7, but frames 20 to 39 are 20"),
        (
            put("window.start_frame", "20"),
            f"line 2 (id '{ID}'): window.start_frame: Expected `int`, got `str`",
        ),
        (put("split", "hidden"), "split: 'hidden' is none of train, val, test"),
        (put("split", "test"), "episode '00000000-0000-4000-8000-000000000000__ep1' is in more than one"),
        (
            put("modalities.media.audio_path", "../x.wav"),
            "modalities.media.audio_path: '../x.wav': path leaves",
        ),
        (put("modalities.media.audio_path", None), "available_conditioning: ['video', 'audio'"),
        (put("modalities.sensor_features.dim", None), "modalities.sensor_features: row 1 of None numbers"),
        (
            put("modalities.language.action_options", {"$ref": "x#/y"}),
            "action_options: 'x#/y' points at nothing",
        ),
        (
            put("modalities.media.context_window.end_frame", 30),
            "frames 0 to 30 do not hold the window 20 to 39",
        ),
        (put("supervision.contact", "no"), "supervision.contact: 'no', but json_answer says 'yes'"),
        (
            put("supervision.evidence_window", {"start_frame": 0, "end_frame": 1}),
            "is not the window 20 to 39",
        ),
        (
            put("id", "00000000-0000-4000-8000-000000000000__ep1:qa:0"),
            "appears a second time, first on line 1",
        ),
        (put("episode_id", "other__ep2"), "episode_id: other__ep2, but the source row has 00000000"),
        (put("source_record_id", "gone"), "source_record_id: no further such row"),
    ],
)
def test_a_damaged_record_is_named_precisely(tmp_path: Path, change: Any, issue: str) -> None:
    found = issues_after(tmp_path, change)
    assert any(issue in line for line in found), found


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    found = issues_after(tmp_path, lambda record: record["adapter_views"].pop("policy_vla_branch"))
    assert any("missing required field `policy_vla_branch`" in line for line in found)


def test_an_index_that_was_cut_off_does_not_validate(tmp_path: Path) -> None:
    build(tmp_path, rows(2, 3))
    path = tmp_path / "index" / "window_index.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    found = [str(issue) for issue in validate_index(tmp_path / "index")]
    assert any("line 6" in line and "cut off" in line for line in found)
    assert any("num_records: 6, found 5" in line for line in found)
    assert any("sha256" in line for line in found)


def test_a_changed_byte_does_not_validate(tmp_path: Path) -> None:
    build(tmp_path, rows(2, 3))
    path = tmp_path / "index" / "window_index.jsonl"
    path.write_bytes(path.read_bytes().replace(b"paper strip", b"paper Strip"))
    assert any("sha256" in issue.field for issue in validate_index(path))


def test_rows_that_are_not_accounted_for_do_not_validate(tmp_path: Path) -> None:
    build(tmp_path, rows(1, 3))
    path = tmp_path / "index" / "window_index_manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "num_source_rows": 4}))
    (issue,) = validate_index(tmp_path / "index")
    assert str(issue).endswith("num_source_rows: 4, but 3 are accounted for")


def test_the_list_of_issues_is_bounded(tmp_path: Path) -> None:
    build(tmp_path, rows(1, 30))
    path = tmp_path / "index" / "window_index.jsonl"
    path.write_text(path.read_text().replace('"split":"train"', '"split":"x"'))
    found = validate_index(path, limit=10)
    assert len(found) == 11
    assert "more issues" in found[-1].problem


def test_validate_and_read_name_a_missing_or_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        validate_index(tmp_path)
    with pytest.raises(NotFoundError):
        list(read_index(tmp_path / "window_index.jsonl"))
    (tmp_path / "window_index.jsonl").write_text("not json\n")
    with pytest.raises(DamagedFileError, match="line 1"):
        list(read_index(tmp_path / "window_index.jsonl"))
    assert validate_index(tmp_path)


# --- properties --------------------------------------------------------------------------------------

json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3)
    ),
    max_leaves=10,
)


@given(
    changes=st.dictionaries(st.sampled_from(sorted(row())), json_values, max_size=4),
    texts=st.text(max_size=30),
)
def test_any_row_is_a_valid_record_or_a_counted_skip(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], texts: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    answer = {**row(1)["answer_json"], "action": texts, "objects": [texts]}
    result = build(folder, [row(0, **changes), row(1, answer_json=answer)])
    assert result.num_rows == 2
    assert result.num_records == len(records(folder))
    assert result.num_skipped == len(result.manifest["skipped_records"])
    *_, last = read_index(folder / "index" / "window_index.jsonl")
    assert (last.supervision.action, last.supervision.objects) == (texts, (texts,))
    assert not [issue for issue in validate_index(folder / "index") if issue.record == last.id]


@given(
    root=st.lists(
        st.sampled_from(["a", "media", "shards", "sensor_features", "x y"]), min_size=1, max_size=4
    ),
    shard=st.sampled_from(["", "/shards/shard_05"]),
)
def test_the_dataset_root_is_found_whatever_its_name(root: list[str], shard: str) -> None:
    base = "/" + "/".join([*root, "run_dataset"])
    roots = Roots()
    assert roots.rendered(f"{base}{shard}/media/s__ep1/m.mp4") == f"{shard}/media/s__ep1/m.mp4".lstrip("/")
    assert roots.dataset == base
    assert roots.rendered(f"{base}/sensor_features/f.npz") == "sensor_features/f.npz"


def test_a_root_that_cannot_be_found_is_asked_for() -> None:
    with pytest.raises(PathRefusedError, match="name the data root"):
        Roots().stream("/data/other/fisheye_cam0.mp4", "s__ep1")
    with pytest.raises(PathRefusedError, match="name the dataset root"):
        Roots().rendered("/renderings/m.mp4")
    assert Roots(dataset="/renderings/").rendered("/renderings/m.mp4") == "m.mp4"

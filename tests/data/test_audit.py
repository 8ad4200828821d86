"""The content audit: captions in every form, the published keys, and reports that show everything."""

import csv
import html.parser
import io
import json
import os
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import msgspec
import pytest

from pipeline.data.audit.balance import BalanceLimits
from pipeline.data.audit.caption import read_caption, read_captions
from pipeline.data.audit.page import page
from pipeline.data.audit.plots import histogram, shares
from pipeline.data.audit.report import Review, markdown
from pipeline.data.audit.review import make_review, publish_review
from pipeline.data.audit.rows import AuditRow, Caption, make_row
from pipeline.data.manifest.record import LabelStats, ManifestEpisode, PerTarget
from pipeline.data.splits import episode_id, session_of
from pipeline.data.taxonomy import CaptionText
from tests.data.tiny import caption

# --- captions ----------------------------------------------------------------------------------------


def annotation(folder: Path, text: Any, name: str = "caption") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "annotation.hdf5", "w") as file:
        if text is not None:
            file[name] = text
    return folder / "annotation.hdf5"


@pytest.mark.parametrize("name", ["caption", "captions"])
def test_a_caption_is_read(tmp_path: Path, name: str) -> None:
    text = json.dumps(caption(60))
    found = read_caption(str(annotation(tmp_path, text, name)))
    assert found.parse_status == "ok"
    assert found.json_bytes == len(text)
    assert found.text.actions == ("Fold paper strip", "Set down star")


def test_a_caption_may_be_a_path_inside_the_episode(tmp_path: Path) -> None:
    path = annotation(tmp_path / "ep1", "captions/a.json")
    assert "No such file" in read_caption(str(path)).error
    (tmp_path / "ep1" / "captions").mkdir()
    (tmp_path / "ep1" / "captions" / "a.json").write_text(json.dumps(caption(60)))
    assert read_caption(str(path)).parse_status == "ok"


@pytest.mark.parametrize("text", ["../secret.json", "/etc/passwd", "a\nb", "", "link/secret.json"])
def test_a_caption_never_leads_out_of_the_episode(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret.json").write_text(json.dumps(caption(60, "secret")))
    path = annotation(tmp_path / "ep1", text)
    (tmp_path / "ep1" / "link").symlink_to(tmp_path)
    found = read_caption(str(path))
    assert found.parse_status == "failed"
    assert found.text == CaptionText()


@pytest.mark.parametrize("text", ['{"segments": [', "[" * 100_000, b"{\xff\xfe}"])
def test_a_caption_that_is_no_json_fails_with_a_reason(tmp_path: Path, text: Any) -> None:
    found = read_caption(str(annotation(tmp_path, text)))
    assert found.parse_status == "failed"
    assert found.error


def test_no_caption_and_no_hdf5(tmp_path: Path) -> None:
    assert read_caption(str(annotation(tmp_path, None))).parse_status == "missing"
    (tmp_path / "annotation.hdf5").write_text("text")
    assert read_caption(str(tmp_path / "annotation.hdf5")).parse_status == "failed"


def test_captions_are_read_once_for_each_file(tmp_path: Path) -> None:
    first = annotation(tmp_path / "s1" / "ep1", json.dumps(caption(60)))
    names = ["s1/ep1/annotation.hdf5", "gone/ep1/annotation.hdf5"]
    events: list[dict[str, Any]] = []

    def read() -> dict[str, Caption]:
        return read_captions(
            names, [tmp_path], cache=tmp_path / "cache", emit=lambda _, **f: events.append(f), workers=1
        )

    assert {name: found.parse_status for name, found in read().items()} == {
        names[0]: "ok",
        names[1]: "missing",
    }
    data, stamp = bytearray(first.read_bytes()), first.stat()
    first.write_bytes(b"\0" * len(data))
    os.utime(first, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert read()[names[0]].parse_status == "ok"  # the same size and time: not opened again
    os.utime(first, (time.time() + 10, time.time() + 10))
    assert read()[names[0]].parse_status == "failed"
    assert events[1]["done"] == events[1]["total"] == 2


# --- rows and reports --------------------------------------------------------------------------------


def episode(path: str, split: str, *, task: str = "Folding paper", windows: int = 9) -> ManifestEpisode:
    labels = LabelStats(
        main_task=task,
        frame_labels=PerTarget({task: 80, "Type on phone": 20}, {}),
        num_labeled_windows={"action": windows},
    )
    return ManifestEpisode(
        episode_id=episode_id(path),
        path=path,
        annotation=f"{path}/annotation.hdf5",
        frame_count=100,
        main_task=task,
        files=(),
        videos=(),
        hdf5_modalities={},
        label_stats=labels,
        total_bytes=0,
        train_minimal_bytes=0,
        has_annotation=True,
        has_any_video=True,
        has_all_videos=True,
        has_rrd=False,
        source_episode_id="ep1",
        episode_path=path,
        split=split,
        selection_rank=1,
        selection_score=0.0,
        size_band="short",
        top_level_session=session_of(path),
    )


EVIL = 'Folding "paper"; <script>alert(1)</script> | *bold* `x`\n\x1b[2J # head'


def review(*, evil: bool = False, **options: Any) -> Review:
    rows = []
    for n in range(24):
        split = {0: "val", 1: "test"}.get(n % 8, "train")
        task = EVIL if evil else ("Folding paper", "Stocking shelves")[split != "train"]
        text = CaptionText(main_task=task, actions=(task, "b, c"), segment_count=1)
        found = Caption(parse_status="ok", json_bytes=10, text=text)
        rows.append(make_row(episode(f"s{n}/ep1", split, task=task), found))
    rows.append(
        make_row(episode("torn/ep1", "train", windows=0), Caption(parse_status="failed", error="torn"))
    )
    settings: dict[str, Any] = {
        "skipped": {"gone/ep1": "absent: no file"},
        "limits": BalanceLimits(),
        "taxonomy": "tags",
        "keep_splits": (),
        "most_swaps": 8,
        "generated_at": "2026-06-08T12:00:00+00:00",
    }
    return make_review(rows, **{**settings, **options})


def test_a_row_has_the_published_keys_first(published: Path) -> None:
    keys = [field.name for field in msgspec.structs.fields(AuditRow)]
    assert keys[:14] == [
        "episode_path",
        "annotation_path",
        "split",
        "size_band",
        "parse_status",
        "json_bytes",
        "main_task",
        "global_summary",
        "segment_count",
        "subtasks",
        "actions",
        "objects",
        "interaction_preview",
        "category",
    ]


def test_an_unparsed_episode_is_unparsed_in_both_taxonomies() -> None:
    row = make_row(episode("s1/ep1", "train"), Caption(parse_status="failed", error="torn"))
    assert (row.category, row.leading_tag, row.tags, row.error) == ("unparsed", "unparsed", (), "torn")


def test_labels_that_resolve_to_no_frame_still_tag() -> None:
    bare = msgspec.structs.replace(episode("s1/ep1", "train", task=""), label_stats=LabelStats())
    text = CaptionText(actions=("Cut cardboard", "Cut paper"))
    row = make_row(bare, Caption(parse_status="ok", text=text))
    assert row.leading_tag == "paper_and_card_craft"


def test_the_review_measures_and_proposes() -> None:
    found = review()
    failed = {check.name for check in found.checks if not check.ok}
    assert {"no_category_dominates", "splits_alike"} <= failed
    assert found.swaps
    assert found.by_tag.unparsed == ("torn/ep1",)
    assert review(keep_splits=("train", "val", "test")).swaps == ()
    assert found.checks[0].detail == "26 episodes = 25 audited + 1 left out"


def test_the_files(tmp_path: Path) -> None:
    publish_review(tmp_path, review(), data_root="/data", selection="selection.json")
    audit = json.loads((tmp_path / "staged_content_audit.json").read_bytes())
    assert list(audit) == [
        "status",
        "generated_at_utc",
        "data_root",
        "selection_json",
        "episode_count",
        "category_counts",
        "split_category_counts",
        "rows",
        "note",
    ]
    assert audit["status"] == "fail"
    assert sum(audit["category_counts"].values()) == audit["episode_count"] == 25
    balance = json.loads((tmp_path / "balance.json").read_bytes())
    assert balance["swaps"][0]["first_split"] != balance["swaps"][0]["second_split"]
    assert balance["by_tag"]["splits"]["train"]["counts"]["paper_and_card_craft"] == 18


def test_the_table_survives_any_label(tmp_path: Path) -> None:
    publish_review(tmp_path, review(evil=True), data_root="", selection="")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "staged_content_audit.csv").read_text("utf-8"))))
    assert len(rows) == 25
    assert rows[0]["main_task"] == EVIL
    assert rows[0]["actions"] == f"{EVIL}; b, c"


def test_markdown_shows_every_episode_and_keeps_its_tables() -> None:
    text = markdown(review(evil=True))
    assert "\x1b" not in text
    assert "<script>" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    atlas = [line for line in lines if line.startswith(("| s", "| torn"))]
    cells = {line.replace("\\|", "").count("|") for line in atlas if "ep1" in line}
    assert len([line for line in atlas if "/ep1" in line]) >= 25
    assert 8 in cells
    assert "absent: no file" in text


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert not (name in ("src", "href") and value)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_and_runs_nothing() -> None:
    found = _Page()
    text = page(review(evil=True))
    found.feed(text)
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert found.tags.count("svg") == 4
    assert all(f"s{n}/ep1" in found.text for n in range(24))
    assert "\x1b" not in text
    assert "<script>alert(1)</script>" in found.text  # as text


def test_plots_are_svg_and_true_to_the_numbers() -> None:
    found = review()
    picture = ElementTree.fromstring(shares(found.by_tag))
    titles = [node.text for node in picture.iter() if node.tag.endswith("title")]
    assert "paper_and_card_craft: 18 of 19 (95%)" in titles
    bars = ElementTree.fromstring(histogram([0, 0, 3, 50]))
    counted = [node.text or "" for node in bars.iter() if node.tag.endswith("title")]
    assert sum(int(text.split(": ")[1].split()[0]) for text in counted) == 4
    assert histogram([]) == ""

"""What a model is shown, and which of its tokens are learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small import LAYOUT, make_dataset, rows_of

from pipeline.data.export.layout import TEXT_BLOCK
from pipeline.engine.errors import DamagedFileError, StageFailedError, UsageError
from pipeline.qwen.collate import IGNORED, Collator, Limits
from pipeline.qwen.processor import load_processor
from pipeline.qwen.prompt import prompt_text, target_text
from pipeline.qwen.rows import read_training_rows
from pipeline.qwen.samples import Samples
from pipeline.qwen.sensors import FeatureFiles, SensorBridge, statistics, streams_of


def changed(root: Path, edit: object) -> Path:
    rows = rows_of(root)
    assert callable(edit)
    edit(rows)
    (root / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root / "dataset.jsonl"


def test_held_out_rows_are_never_decoded_for_training(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", train=4, val=2, test=3)
    rows = read_training_rows(root / "dataset.jsonl")
    assert (len(rows.train), len(rows.val), rows.held_out) == (4, 2, 3)
    assert {row.split for row in (*rows.train, *rows.val)} == {"train", "val"}


def test_a_test_episode_in_the_train_split_is_refused(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", train=2, val=0, test=1)
    path = changed(root, lambda rows: rows[2].update(episode_id=rows[0]["episode_id"]))
    with pytest.raises(UsageError, match="is in split train and in test"):
        read_training_rows(path)


@pytest.mark.parametrize(
    ("edit", "kind", "told"),
    [
        (lambda rows: rows[1].update(id=rows[0]["id"]), UsageError, "occurs twice"),
        (lambda rows: rows[0].pop("split"), DamagedFileError, "dataset.jsonl:1"),
        (lambda rows: [row.update(split="test") for row in rows], UsageError, "no row of the train split"),
    ],
)
def test_a_bad_dataset_is_refused_by_line(
    tmp_path: Path, edit: object, kind: type[Exception], told: str
) -> None:
    root = make_dataset(tmp_path / "d", train=2, val=0, test=0)
    with pytest.raises(kind, match=told):
        read_training_rows(changed(root, edit))


def test_the_loss_sees_the_answer_and_nothing_else(model: Path, dataset: Path) -> None:
    processor = load_processor(model)
    samples = Samples(dataset, processor, sensors=False)
    rows = rows_of(dataset)[:3]
    batch = Collator(processor)([samples.make(row, answered=True) for row in rows])
    assert batch.labels is not None
    for row, labels in zip(rows, batch.labels, strict=True):
        told = processor.tokenizer.decode(labels[labels != IGNORED])
        assert told == target_text(row) + "<|im_end|>\n"
    length = batch.inputs["input_ids"].shape[1]
    mask = batch.inputs["attention_mask"].sum(dim=1).tolist()
    assert [p + a for p, a in zip(batch.prompt_tokens, batch.answer_tokens, strict=True)] == mask
    assert max(mask) == length
    assert all(tokens > 30 for tokens in batch.media_tokens), (
        "media are expanded before the prompt is measured"
    )
    assert batch.frames == (4, 4, 4)


def test_a_prompt_costs_a_fraction_of_the_originals_and_names_no_label(model: Path, dataset: Path) -> None:
    processor = load_processor(model)
    samples = Samples(dataset, processor)
    batch = Collator(processor)([samples.make(row, answered=True) for row in rows_of(dataset)[:4]])
    assert max(batch.prompt_tokens) < 0.15 * 14_287
    text = prompt_text(rows_of(dataset)[0]).user
    assert not any(row["answer_json"]["action"] in text for row in rows_of(dataset))


def test_the_models_clock_knows_how_fast_pictures_were_taken(model: Path, dataset: Path) -> None:
    processor = load_processor(model)
    sample = Samples(dataset, processor).make(rows_of(dataset)[0], answered=True)
    assert sample.media.frames_per_s == 4 / 2.0  # 4 pictures of 40 frames at 20 per second
    batch = Collator(processor)([sample])
    assert batch.inputs["video_second_per_grid"].tolist() == [1.0]


def test_pictures_are_brought_to_size_once(model: Path, dataset: Path) -> None:
    processor = load_processor(model)
    small = Samples(dataset, processor, limits=Limits(max_pixels=32 * 32), cache_bytes=1 << 30)
    first = small.make(rows_of(dataset)[0], answered=False)
    assert first.media.frames is not None
    assert tuple(first.media.frames.shape) == (4, 3, 32, 32)
    again = small.make(rows_of(dataset)[0], answered=False)
    assert again.media.frames is first.media.frames


def test_media_that_vanished_or_leave_the_dataset_name_the_file(model: Path, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", train=3, val=0, test=0)
    rows = rows_of(root)
    (root / rows[0]["media"]["mosaic_video_path"]).unlink()
    (root / rows[1]["media"]["audio_path"]).write_bytes(b"RIFF")
    rows[2]["media"]["mosaic_video_path"] = "../../etc/passwd"
    samples = Samples(root, load_processor(model))
    for row, told in zip(rows, ("0.mp4", "1.wav", "leaves the dataset"), strict=True):
        with pytest.raises(StageFailedError, match=told):
            samples.make(row, answered=True)


def test_a_row_without_clip_or_sound_has_no_such_part(model: Path, dataset: Path) -> None:
    processor = load_processor(model)
    row = rows_of(dataset)[0]
    row["media"] = row["media"] | {"mosaic_video_path": None, "audio_path": None}
    sample = Samples(dataset, processor).make(row, answered=True)
    text = Collator(processor).text(sample)
    assert "video_pad" not in text
    assert "audio_pad" not in text
    assert Collator(processor)([sample]).media_tokens == (0,)


def test_a_prompt_that_is_too_long_is_refused(model: Path, dataset: Path) -> None:
    processor = load_processor(model)
    sample = Samples(dataset, processor).make(rows_of(dataset)[0], answered=True)
    with pytest.raises(UsageError, match="50 may be"):
        Collator(processor, limits=Limits(max_prompt_tokens=50))([sample])


def test_the_bridge_never_reads_the_block_that_holds_the_labels_words() -> None:
    streams = streams_of(LAYOUT.published())
    assert len(streams) == len(LAYOUT.blocks) - 1
    assert TEXT_BLOCK not in {stream.name for stream in streams}


def test_features_are_standardised_with_the_train_split(dataset: Path) -> None:
    files = FeatureFiles(dataset)
    train = [row for row in rows_of(dataset) if row["split"] == "train"]
    mean, deviation = statistics(train, files, LAYOUT.dim)
    table = np.load(dataset / "features.npz")["features"][: len(train)].astype(np.float64)
    assert np.allclose(mean, table.mean(axis=0), atol=1e-6)
    spread = table.std(axis=0)
    assert np.allclose(deviation, np.where(spread < 1e-6, 1.0, spread), atol=1e-6)


def test_what_was_not_measured_is_a_learned_vector_and_not_zero() -> None:
    torch.manual_seed(0)
    bridge = SensorBridge(streams_of(LAYOUT.published()), 16)
    torch.nn.init.normal_(bridge.missing)
    features = torch.randn(2, LAYOUT.dim)
    valid = torch.ones(2, len(LAYOUT.blocks))
    valid[1, 0] = 0.0
    tokens = bridge(features, valid)
    changed_features = features.clone()
    changed_features[1, : bridge.streams[0].end] = float("nan")
    assert torch.equal(tokens[1, 0], bridge(changed_features, valid)[1, 0])
    assert torch.isfinite(bridge(changed_features, torch.ones_like(valid))).all()

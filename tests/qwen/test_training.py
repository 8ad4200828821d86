"""Training: it learns, resumes to the same weights, and what it saves is what it trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import rows_of, settings

from pipeline.engine.errors import CancelledByOperatorError, DamagedFileError, StageFailedError
from pipeline.qwen import trainer as trainer_module
from pipeline.qwen.adapter import WEIGHTS, adapter_hash, add_lora, load_adapter, read_bridge, save_adapter
from pipeline.qwen.answerer import load_trained
from pipeline.qwen.collate import Collator
from pipeline.qwen.gate import shape_check
from pipeline.qwen.glimpse import glimpse
from pipeline.qwen.group import join_group
from pipeline.qwen.launch import train_together
from pipeline.qwen.memory import estimate, lora_parameters
from pipeline.qwen.model import load_thinker
from pipeline.qwen.order import epoch_batches
from pipeline.qwen.processor import load_processor
from pipeline.qwen.rows import read_training_rows
from pipeline.qwen.samples import Samples
from pipeline.qwen.schedule import rate_at
from pipeline.qwen.sensors import streams_of
from pipeline.qwen.settings import TrainSettings
from pipeline.qwen.train import Job, Result, train

Events = list[tuple[str, dict[str, Any]]]


class Recorder:
    """An `Emit` that remembers."""

    def __init__(self) -> None:
        self.events: Events = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]


def trained(job: Job, *, stop_after: int = 0) -> tuple[Result, Recorder]:
    told = Recorder()
    Path(job.work).mkdir(exist_ok=True)

    def stop() -> bool:
        return bool(stop_after) and len(told.of("train_step")) >= stop_after

    return train(job, join_group(1), told, stop), told


def weights(work: Path) -> dict[str, torch.Tensor]:
    return load_file(work / "best" / WEIGHTS) | load_file(work / "best" / "sensor_bridge.safetensors")


def test_a_toy_is_learned_to_the_letter(model: Path, dataset: Path, tmp_path: Path) -> None:
    made = settings(
        model, epochs=100, learning_rate=4e-3, batch_size=8, lora_r=32, lora_experts=True, val_every=1000
    )
    result, told = trained(Job(made, str(dataset), str(tmp_path / "w")))
    assert told.of("train_step")[-1]["rank0_batch_loss"] < 0.1
    weights = tmp_path / "w" / "best"
    (tmp_path / "out").mkdir()
    shutil.copytree(weights, tmp_path / "out" / "adapter")
    record = {"settings": msgspec.to_builtins(made), "base_model": result.base, "tuning_mode": "lora"}
    (tmp_path / "out" / "training_metadata.json").write_text(json.dumps(record))
    loaded = load_trained(tmp_path / "out", dataset)
    rows = read_training_rows(dataset / "dataset.jsonl").train
    found = glimpse(loaded.model, loaded.processor.tokenizer, loaded.collate, loaded.samples, rows)
    assert found["exact_rate"] == 1.0
    assert found["action_accuracy"] == 1.0 > found["baseline_action_accuracy"]


def test_a_stopped_training_resumes_to_the_same_weights(model: Path, dataset: Path, tmp_path: Path) -> None:
    made = settings(model, epochs=3, lora_dropout=0.1, val_every=2)
    whole = Job(made, str(dataset), str(tmp_path / "whole"))
    result, _ = trained(whole)
    parts = Job(made, str(dataset), str(tmp_path / "parts"))
    with pytest.raises(CancelledByOperatorError, match="after step 3"):
        trained(parts, stop_after=3)
    again, told = trained(parts)
    assert told.of("resumed")[0]["global_step"] == 3
    assert len(told.of("train_step")) == result.progress.step - 3
    assert again.progress.validations == result.progress.validations
    assert again.progress.history == result.progress.history
    one, other = weights(Path(whole.work)), weights(Path(parts.work))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_settings_do_not_resume_a_checkpoint(model: Path, dataset: Path, tmp_path: Path) -> None:
    job = Job(settings(model, epochs=2), str(dataset), str(tmp_path / "w"))
    with pytest.raises(CancelledByOperatorError):
        trained(job, stop_after=1)
    other = Job(settings(model, epochs=2, learning_rate=5e-4), str(dataset), str(tmp_path / "w"))
    _, told = trained(other)
    assert not told.of("resumed")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_take_the_steps_of_one(
    model: Path, dataset: Path, tmp_path: Path, parallel: str
) -> None:
    one = settings(model, epochs=2, batch_size=4, val_every=2)
    alone, _ = trained(Job(one, str(dataset), str(tmp_path / "one")))
    two = settings(model, epochs=2, batch_size=2, val_every=2, processes=2, parallel=parallel)
    (tmp_path / "two").mkdir()
    told = Recorder()
    result = train_together(
        Job(two, str(dataset), str(tmp_path / "two")), tmp_path / "two", told, lambda: False
    )
    assert result.progress.step == alone.progress.step
    for mine, theirs in zip(result.progress.validations, alone.progress.validations, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=2e-3)
    assert [step["global_step"] for step in told.of("train_step")] == [1, 2, 3, 4]
    assert set(weights(tmp_path / "two")) == set(weights(tmp_path / "one"))


def test_a_loss_that_is_not_finite_stops_with_the_samples(
    model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trainer_module.answer_loss
    monkeypatch.setattr(trainer_module, "answer_loss", lambda m, b: real(m, b) * float("nan"))
    told = Recorder()
    job = Job(settings(model, check_reload=False), str(dataset), str(tmp_path))
    with pytest.raises(StageFailedError, match="loss of step 1 is not finite"):
        train(job, join_group(1), told, lambda: False)
    (event,) = told.of("loss_not_finite")
    assert len(event["sample_ids"]) == 4


def test_training_ends_when_validation_gets_worse_and_keeps_the_best(
    model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.6, 1.0])
    monkeypatch.setattr(trainer_module.Trainer, "_val_loss", lambda self: next(losses))
    made = settings(model, epochs=5, val_every=1, stop_after_worse=2)
    result, told = trained(Job(made, str(dataset), str(tmp_path / "w")))
    assert result.progress.step == 4
    assert result.progress.best is not None
    assert result.progress.best.step == 2
    assert [event["best"] for event in told.of("val_end")] == [True, True, False, False]


def prepared(model: Path, **changes: Any) -> tuple[Any, Any]:
    processor = load_processor(model)
    from small import LAYOUT

    thinker = load_thinker(model, processor, streams=streams_of(LAYOUT.published()))
    wrapped = add_lora(thinker, settings(model, **changes))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return wrapped.eval(), processor


@pytest.mark.parametrize("layout", ["base_model.model.model.", "base_model.model.thinker.model."])
@pytest.mark.parametrize("experts", [False, True])
def test_an_adapter_answers_after_a_reload_as_before(
    model: Path, dataset: Path, tmp_path: Path, layout: str, experts: bool
) -> None:
    from small import LAYOUT

    wrapped, processor = prepared(model, lora_experts=experts)
    save_adapter(wrapped, tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    assert all(name.startswith("base_model.model.model.layers.") for name in stored)
    assert not any("audio_tower" in name or "visual" in name for name in stored)
    renamed = {name.replace("base_model.model.model.", layout, 1): value for name, value in stored.items()}
    save_file(renamed, tmp_path / WEIGHTS)
    streams, tokens = read_bridge(tmp_path)
    fresh = load_adapter(
        load_thinker(model, processor, streams=streams, sensor_tokens=tokens, seed=99), tmp_path
    )
    shape = (LAYOUT.dim, len(LAYOUT.blocks))
    collate = Collator(processor, sensor_tokens=len(streams), sensor_shape=shape)
    samples = Samples(dataset, processor)
    batch = collate([samples.make(row, answered=True) for row in rows_of(dataset)[:2]])
    with torch.no_grad():
        before, after = (m(**batch.inputs, last_tokens=3) for m in (wrapped, fresh))
    assert torch.equal(before, after)


def test_a_torn_or_foreign_adapter_is_refused(model: Path, tmp_path: Path) -> None:
    wrapped, processor = prepared(model)
    save_adapter(wrapped, tmp_path / "good")
    digest = adapter_hash(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "torn")
    whole = (tmp_path / "torn" / WEIGHTS).read_bytes()
    (tmp_path / "torn" / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    assert adapter_hash(tmp_path / "torn") != digest
    shutil.copytree(tmp_path / "good", tmp_path / "foreign")
    short = dict(list(load_file(tmp_path / "foreign" / WEIGHTS).items())[:-1])
    save_file(
        short | {"base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight": torch.ones(2, 2)},
        tmp_path / "foreign" / WEIGHTS,
    )
    for name in ("torn", "foreign"):
        thinker = load_thinker(model, processor, streams=read_bridge(tmp_path / "good")[0])
        with pytest.raises(DamagedFileError):
            load_adapter(thinker, tmp_path / name)
    with pytest.raises(DamagedFileError):
        shape_check(tmp_path / "torn")


def test_the_shape_check_names_bad_tensors(model: Path, tmp_path: Path) -> None:
    wrapped, _ = prepared(model)
    save_adapter(wrapped, tmp_path)
    good = shape_check(tmp_path)
    assert good["status"] == "pass"
    assert good["num_moved_tensors"] == good["num_tensors"] // 2
    assert good["prefixes"] == {"model": good["num_tensors"]}
    tensors = load_file(tmp_path / WEIGHTS)
    first, second, third = list(tensors)[:3]
    tensors[first] = torch.zeros(0, 4)
    tensors[second] = torch.zeros(4)
    tensors[third] = torch.full((2, 2), float("nan"))
    save_file(tensors, tmp_path / WEIGHTS)
    bad = shape_check(tmp_path)
    assert bad["status"] == "fail"
    assert {one["reason"] for one in bad["bad_tensors"]} == {"empty", "1 dimensions", "not finite"}


def test_every_row_is_seen_once_per_epoch_by_any_number_of_processes() -> None:
    for processes in (1, 2, 3):
        seen = [
            row
            for rank in range(processes)
            for batch in epoch_batches(12, batch_size=2, seed=1, epoch=0, rank=rank, processes=processes)
            for row in batch
        ]
        assert sorted(seen) == list(range(12))
    first, second = (epoch_batches(12, batch_size=2, seed=1, epoch=e) for e in (0, 1))
    assert first != second
    assert first == epoch_batches(12, batch_size=2, seed=1, epoch=0)


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_at(step, 100, rate=1.0, warmup_share=0.1) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == max(rates) == 1.0
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_the_published_size_is_estimated_from_its_configuration_alone(tmp_path: Path) -> None:
    text = {
        "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "num_experts": 128, "moe_intermediate_size": 768, "vocab_size": 152064,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"thinker_config": {"text_config": text}}))
    found = estimate(tmp_path, TrainSettings(processes=8))
    assert (
        found["trained_parameters"]
        == lora_parameters(text, TrainSettings())
        == pytest.approx(13.4e6, rel=0.01)
    )
    assert found["weights"] * 8 == pytest.approx(2 * 30.5e9, rel=0.02)
    assert found["parallel"] == "fsdp"

"""What dataset, training, evaluation and report stages publish, made of two dozen rows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline.backbones.contract import read_catalogue
from pipeline.data.export.rows import Answer, training_target
from pipeline.evaluate.answerer import Reply
from pipeline.evaluate.merge import merge_shards, publish_merged
from pipeline.evaluate.predictions import Scribe
from pipeline.evaluate.rows import read_eval_rows
from pipeline.metrics.answers import Options
from pipeline.metrics.options import read_dataset_facts
from pipeline.package.build import Sources
from pipeline.reporting.facts import gather
from pipeline.reporting.markdown import run_report
from pipeline.reporting.page import page
from pipeline.verdicts.evaluation import evaluation_questions
from pipeline.verdicts.record import record
from pipeline.verdicts.training import dataset_questions, training_questions

ACTIONS = ("cut", "pour", "wipe")
CONTRACT = read_catalogue().contract("qwen3_omni_lora")
HOME = "/home/ada/xperience"


class Folders(NamedTuple):
    """The published folders of one run."""

    root: Path
    sources: Sources

    def questions(self) -> list[Any]:
        """Everything a validation asks of them, as they are now."""
        source = self.sources
        meta = read(source.train / "training_metadata.json")
        digest = sha(source.export / "dataset.jsonl")
        rows = [json.loads(line) for line in (source.export / "dataset.jsonl").open()]
        return [
            *dataset_questions(source.export, read(source.manifest / "episode_manifest.json")["episodes"]),
            *training_questions(
                source.train,
                source.train.parent / "progress.jsonl",
                CONTRACT,
                dataset_sha256=digest,
                adapter_sha256="a" * 64,
            ),
            *evaluation_questions(
                source.merge,
                CONTRACT,
                splits={row["id"]: row["split"] for row in rows},
                meta=meta,
                min_json_validity=0.0,
            ),
        ]

    def failing(self) -> set[str]:
        """Names of the questions whose answer is not yes."""
        return {question.name for question in self.questions() if question.ok is not True}


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))


def edit(path: Path, **changes: Any) -> None:
    write(path, read(path) | changes)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def answer(index: int) -> dict[str, Any]:
    return {
        "action": ACTIONS[index % 3],
        "subtask": "cook",
        "objects": ["pan"],
        "contact": "yes",
        "transition": "no",
        "next_action": ACTIONS[index % 3],
        "evidence_window": {"start_frame": 0, "end_frame": 19},
    }


def write_folders(root: Path) -> Folders:
    stages = {name: root / "stages" / name / "out" for name in Sources.__struct_fields__}
    for folder in stages.values():
        folder.mkdir(parents=True)
    sources = Sources(**stages)
    _dataset(sources)
    _training(sources)
    _evaluation(sources)
    folders = Folders(root, sources)
    half = len([q for q in folders.questions() if q.stage != "eval"])
    for name, part in (("training", folders.questions()[:half]), ("eval", folders.questions()[half:])):
        write(sources.validate / f"{name}.json", record(part, {"workspace": HOME}))
    facts = gather(
        "run-1",
        "pilot",
        dataset=sources.export,
        train=sources.train,
        merge=sources.merge,
        validate=sources.validate,
    )
    (sources.report / "RUN_REPORT.md").write_text(run_report(facts))
    (sources.report / "report.html").write_text(page(facts))
    return folders


def _dataset(sources: Sources) -> None:
    names = ["train"] * 9 + ["val"] * 3 + ["test"] * 12
    episodes, rows = [], []
    for index, split in enumerate(names):
        episode = f"{split}{index // 3}__ep1"
        rows.append(
            {
                "id": f"{episode}:qa:{index}",
                "episode_id": episode,
                "split": split,
                "center_window": {"start_frame": 0, "end_frame": 19, "num_frames": 20},
                "media": {"mosaic_video_path": f"media/{index}.mp4", "audio_path": None},
                "question": "?",
                "answer_json": answer(index),
            }
        )
        episodes.append({"episode_id": episode, "split": split, "top_level_session": f"{split}{index // 3}"})
    (sources.export / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write(
        sources.export / "dataset_manifest.json",
        {
            "run_id": "run-1",
            "num_samples": len(rows),
            "num_episodes": 8,
            "split_counts": {"train": 9, "val": 3, "test": 12},
            "action_options": list(ACTIONS),
            "skipped_episodes": [{"episode_path": "s/ep9", "reason": "no labelled windows"}],
            "data_roots": [f"{HOME}/data"],
        },
    )
    unique = list({episode["episode_id"]: episode for episode in episodes}.values())
    write(sources.manifest / "episode_manifest.json", {"summary": {}, "episodes": unique})


def _training(sources: Sources) -> None:
    events = [
        {"event": "train_step", "global_step": step, "rank0_batch_loss": 5.0 / step, "timestamp": 1.0}
        for step in range(1, 30)
    ]
    events += [{"event": "val_end", "global_step": 20, "val_loss": 0.4}, {"event": "complete"}]
    log = "".join(json.dumps(event) + "\n" for event in events)
    (sources.train / "progress.jsonl").write_text(log)
    (sources.train.parent / "progress.jsonl").write_text(log)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (sources.train / "adapter").mkdir(exist_ok=True)
        (sources.train / "adapter" / name).write_text("{}")
    write(
        sources.train / "training_metadata.json",
        {
            "run_id": "run-1",
            "model_id": "Qwen/Qwen3-Omni-30B-A3B-Instruct",
            "dataset_jsonl": f"{HOME}/runs/run-1/dataset.jsonl",
            "dataset_sha256": sha(sources.export / "dataset.jsonl"),
            "adapter_sha256": "a" * 64,
            "prompt_hash": "p" * 16,
            "tuning_mode": "lora",
            "num_processes": 8,
            "num_train_samples": 9,
            "num_val_samples": 3,
            "history": [{"epoch": 0, "train_loss": 0.5, "val_loss": 0.4, "global_step": 29}],
            "best": {"step": 20, "val_loss": 0.4},
            "base_model": {"path": f"{HOME}/models/qwen", "config_sha256": "c" * 64},
            "settings": {"learning_rate": 1e-4, "model_dir": f"{HOME}/models/qwen"},
        },
    )
    write(sources.checkpoint_gate / "adapter_shape_check.json", {"status": "pass", "num_bad_tensors": 0})


def _evaluation(sources: Sources) -> None:
    asked = read_eval_rows(sources.export / "dataset.jsonl")
    scribe = Scribe(asked, Options(ACTIONS), identity="i" * 16, shard=0)
    lines = []
    for place, row in enumerate(asked.rows):
        said = row["answer_json"] if place % 4 else row["answer_json"] | {"action": "cut"}
        text = training_target(msgspec.convert(said, Answer))
        lines.append(msgspec.json.encode(scribe.answered(row, Reply(row["id"], text, 9, 9, 0.1, "stop"))))
    shard = sources.merge.parent / "shard"
    shard.mkdir()
    (shard / "predictions.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    meta = read(sources.train / "training_metadata.json")
    publish_merged(
        merge_shards([shard], asked),
        sources.merge,
        facts=read_dataset_facts(sources.export / "dataset_manifest.json"),
        asked=asked,
        run_id="run-1",
        shard_dirs=[f"{HOME}/runs/run-1/shards/00"],
        resamples=20,
        full_matrix=False,
        extra={
            "identity_parts": {
                "adapter": meta["adapter_sha256"],
                "dataset": meta["dataset_sha256"],
                "prompt": meta["prompt_hash"],
            },
            "labels_mode": "train",
        },
    )

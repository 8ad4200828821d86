"""A dataset of a dozen rows and a checkpoint of a million random parameters, both made here."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.data.export.layout import LAYOUTS
from pipeline.qwen.settings import TrainSettings

ACTIONS = ("Fill kettle", "Pour water", "Lift hammer", "Stick label")
LAYOUT = LAYOUTS["no_video"]

#: What a training on two cores needs.
QUICK: dict[str, Any] = {
    "precision": "float32",
    "gradient_checkpointing": False,
    "lora_dropout": 0.0,
    "batch_size": 4,
    "max_pixels": 4096,
    "threads": 1,
    "sensor_tokens": 1,
    "cache_gib": 0.5,
}


def settings(model: Path, **changes: Any) -> TrainSettings:
    return TrainSettings(model_dir=str(model), **{**QUICK, **changes})


def answer(number: int) -> dict[str, Any]:
    return {
        "action": ACTIONS[number % 4],
        "subtask": f"Part {number % 2}",
        "objects": ["kettle"] if number % 2 else ["hammer", "tool wall"],
        "contact": "yes" if number % 2 else "no",
        "transition": "no",
        "next_action": ACTIONS[(number + 1) % 4],
        "evidence_window": {"start_frame": 0, "end_frame": 19},
    }


def make_dataset(root: Path, *, train: int = 8, val: int = 4, test: int = 4) -> Path:
    """Rows whose clip, sound and features all tell the action."""
    (root / "media").mkdir(parents=True)
    rows, vectors, valid = [], [], []
    names = ["train"] * train + ["val"] * val + ["test"] * test
    for index, split in enumerate(names):
        number = index % 4
        clip, sound = f"media/{index}.mp4", f"media/{index}.wav"
        write_clip(root / clip, number)
        write_sound(root / sound, number)
        vector = np.full(LAYOUT.dim, 0.1, np.float32)
        vector[number * 20 : number * 20 + 20] = 5.0
        vectors.append(vector)
        valid.append(np.ones(len(LAYOUT.blocks), np.float32))
        rows.append(
            {
                "id": f"{split}__ep{index}:qa:0",
                "episode_id": f"{split}__ep{index}",
                "split": split,
                "target": "episode_qa",
                "center_window": {"start_frame": 0, "end_frame": 19, "num_frames": 20},
                "media": {
                    "context_start_frame": 0,
                    "context_end_frame": 39,
                    "mosaic_video_path": clip,
                    "audio_path": sound,
                },
                "sensor_feature_path": "features.npz",
                "sensor_feature_index": index,
                "sensor_feature_dim": LAYOUT.dim,
                "question": "?",
                "answer_json": answer(number),
            }
        )
    np.savez(root / "features.npz", features=np.stack(vectors), valid=np.stack(valid))
    (root / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {
        "run_id": "small",
        "num_samples": len(rows),
        "num_episodes": len(rows),
        "split_counts": {split: names.count(split) for split in ("train", "val", "test")},
        "action_options": sorted(ACTIONS),
        "feature_manifest": LAYOUT.published(),
        "skipped_episodes": [{"episode_path": "s/ep9", "reason": "no labels"}],
    }
    (root / "dataset_manifest.json").write_text(json.dumps(manifest))
    return root


def rows_of(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "dataset.jsonl").open()]


def write_clip(path: Path, number: int, frames: int = 4) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[:, 16 * number : 16 * number + 16] = 60 * number + 60
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_sound(path: Path, number: int) -> None:
    tone = np.sin(np.arange(32_000) * (number + 1) * 0.2) * 8000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone.astype("<i2").tobytes())

"""Dataset rows of the published shape, made of nothing but numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = "/data/xperience10m_128"
DATASET = "/results/run_dataset"
ACTIONS = [f"Fold strip {i:03d}" for i in range(60)]
SUBTASKS = [f'Fold, cut and "glue"\n{i:03d}' for i in range(20)]


def row(session: int = 0, window: int = 0, *, split: str = "train", **changes: Any) -> dict[str, Any]:
    """One row of session `session`; `changes` replace top-level keys, None included."""
    episode = f"{session:08d}-0000-4000-8000-000000000000__ep1"
    start = 20 * window
    span = {"start_frame": start, "end_frame": start + 19}
    context = (max(0, start - 50), max(0, start - 50) + 119)
    stem = f"{episode}_w{window:05d}_ctx{context[0]}_{context[1]}"
    question = "What happens here?"
    answer = {
        "action": ACTIONS[window % len(ACTIONS)],
        "subtask": SUBTASKS[window % len(SUBTASKS)],
        "objects": ["paper strip", "scissors"],
        "contact": "yes",
        "transition": "no",
        "next_action": ACTIONS[(window + 1) % len(ACTIONS)],
        "evidence_window": span,
    }
    folder = f"{DATA}/{episode.replace('__', '/')}"
    made = {
        "id": f"{episode}:qa:{window}",
        "episode_id": episode,
        "split": split,
        "target": "episode_qa",
        "prompt_type": "json_episode_understanding",
        "center_window": {**span, "num_frames": 20},
        "media": {
            "video_paths": [
                {"name": f"fisheye_cam{i}.mp4", "path": f"{folder}/fisheye_cam{i}.mp4"} for i in range(4)
            ],
            "context_start_frame": context[0],
            "context_end_frame": context[1],
            "max_video_frames": 16,
            "mosaic_video_path": f"{DATASET}/media/{episode}/{stem}_mosaic.mp4",
            "audio_path": f"{DATASET}/media/{episode}/{stem}_audio.wav",
        },
        "sensor_feature_path": f"{DATASET}/sensor_features/{episode}_sensor_features.npz",
        "sensor_feature_index": window,
        "sensor_feature_dim": 4430,
        "question": question,
        "answer_json": answer,
        "label": answer["action"],
        "action_options": ACTIONS,
        "subtask_options": SUBTASKS,
        "label_options": ACTIONS,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": question}]},
            {"role": "assistant", "content": [{"type": "text", "text": json.dumps(answer, sort_keys=True)}]},
        ],
    }
    return {**made, **changes}


def rows(sessions: int, windows: int) -> Iterator[dict[str, Any]]:
    """`windows` rows of each session; of eight sessions six are train, one is val, one is test."""
    for session in range(sessions):
        split = {6: "val", 7: "test"}.get(session % 8, "train")
        for window in range(windows):
            yield row(session, window, split=split)


def write_rows(path: Path, made: Any) -> Path:
    """`dataset.jsonl` of rows or raw lines, as the exporters write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for entry in made:
            file.write(entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) + "\n")
    return path

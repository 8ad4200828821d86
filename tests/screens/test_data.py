"""The Data screen: episodes, conservation, balance, workers, a picture, and taking an episode out."""

from __future__ import annotations

import json
import time
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from consoles import PLAIN, RICH, settle, shown

from pipeline.data import glimpse as program
from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.outputs import publish_outputs
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import load_registry
from pipeline.engine.runs import create_run
from pipeline.views.data import EpisodeLine, read_data
from screens.app import Console
from screens.data import Workers, glimpse, glimpse_lines, worker_lines
from screens.feed import WorkspaceFeed

GONE = "99999999-0000-4000-8000-000000000000/ep3"


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    workspace = WorkspacePaths(tmp_path)
    workspace.config.write_text('name = "test"\n')
    made = create_run(workspace, load_registry(), WorkspaceConfig(), recipe="make_dataset")
    paths = [f"{n:08d}-0000-4000-8000-000000000000/ep{n}" for n in range(3)]
    flags = {"calibration": True, "depth": True, "imu": False}
    publish(
        made,
        "select",
        {
            "selection.json": {
                "selected_episodes": [
                    {"episode_path": path, "split": "train", "size_band": "short"} for path in [*paths, GONE]
                ]
            }
        },
    )
    publish(
        made,
        "discover",
        {"qa.json": [{"episode": paths[1], "findings": [{"detail": "[red]audio starts 80 ms late"}]}]},
    )
    publish(
        made,
        "manifest",
        {
            "episode_manifest.json": {
                "episodes": [
                    {
                        "episode_path": path,
                        "split": "train",
                        "size_band": "short",
                        "frame_count": 600,
                        "main_task": "Making tea",
                        "hdf5_modalities": flags,
                        "label_stats": {"num_labeled_windows": {"action": 30}},
                    }
                    for path in paths
                ],
                "missing_or_incomplete": [{"episode_path": GONE, "reason": "no labelled windows"}],
            }
        },
    )
    publish(
        made,
        "audit",
        {
            "balance.json": {
                "limits": {"max_divergence": 0.05},
                "swaps": [{}],
                "by_tag": {"splits": {"train": {"counts": {"cooking": 3, "cleaning": 1}, "divergence": 0.2}}},
            }
        },
    )
    records = [
        {
            "episode_id": path.replace("/", "__"),
            "rows": [{"media": {"mosaic_video_path": "clip.mp4", "audio_path": "sound.wav"}}] * 7,
        }
        for path in paths[:2]
    ]
    folder = made.stage("export").out_tmp(1)
    folder.mkdir(parents=True)
    (folder / "episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    media(folder)
    publish_outputs(made.stage("export"), 1, ())
    return made  # fmt: skip


def publish(run: RunPaths, stage: str, files: dict[str, Any]) -> None:
    folder = run.stage(stage).out_tmp(1)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    publish_outputs(run.stage(stage), 1, ())


def media(folder: Path) -> None:
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[:, 32:] = 255
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.concatenate([np.zeros(800), np.full(800, 16_384)]).astype("<i2").tobytes())


def console(run: RunPaths, capabilities: Any = RICH, **options: Any) -> Console:
    feed = WorkspaceFeed(WorkspacePaths(run.root.parent.parent), load_registry())
    return Console(feed, capabilities=capabilities, **options)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
@pytest.mark.parametrize("capabilities", [RICH, PLAIN], ids=["rich", "plain"])
async def test_episodes_show_their_fate_and_the_sum_is_conserved(
    run: RunPaths, size: tuple[int, int], capabilities: Any
) -> None:
    app = console(run, capabilities)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("D")
        await settle(pilot, lambda: "4 selected = 2 exported + 1 out" in shown(app), "the conservation line")
        text = shown(app)
        assert ("out: no labelled windows" if size[0] == 160 else "out: no") in text
        assert "1 findings" in text
        assert "75 % cooking  0.200 bits" in text
        assert "1 swaps proposed" in text
        await pilot.press("j", "enter")
        await settle(pilot, lambda: "[red]audio starts 80 ms late" in shown(app), "the detail")
        assert "lacks" in shown(app)
    if capabilities is PLAIN:
        assert text.isascii()


async def test_an_episode_is_taken_out_with_a_reason(run: RunPaths) -> None:
    app = console(run)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("D")
        await settle(pilot, lambda: "4 selected" in shown(app), "the episodes")
        await pilot.press("Q")
        await settle(pilot, lambda: "Take out 00000000" in shown(app), "the dialog")
        await pilot.press(*"blurred")
        await pilot.press("enter", "right", "enter")
        path = run.root.parent.parent / "quarantine.jsonl"
        await settle(pilot, path.exists, "the journal")
    act = json.loads(path.read_text())
    assert (act["episode"][:8], act["act"], act["reason"]) == ("00000000", "out", "blurred")


async def test_a_read_only_console_takes_nothing_out(run: RunPaths) -> None:
    app = console(run, read_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("D", "Q")
        await settle(pilot, lambda: "read-only: quarantine is refused" in shown(app), "the refusal")


async def test_the_first_window_is_drawn(run: RunPaths) -> None:
    app = console(run)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("D")
        await settle(pilot, lambda: "4 selected" in shown(app), "the episodes")
        await pilot.press("o")
        await settle(pilot, lambda: "loudest 49 % of full scale" in shown(app), "the sound")
        assert "   @@@" in shown(app), "dark on the left, bright on the right"


def test_what_cannot_be_drawn_is_said_and_nothing_leaves_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    found = glimpse(tmp_path, EpisodeLine("e", clip="clip.mp4"))
    assert found["problem"]
    outside = glimpse(tmp_path, EpisodeLine("e", clip="../../etc/passwd"))
    assert outside == {"grey": [], "sound": [], "problem": ""}
    from screens.terminal.glyphs import ASCII

    assert "nothing to draw" in glimpse_lines(outside, ASCII)[0][0][0]


def test_the_program_tells_levels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media(tmp_path)
    options = ["4", "2", "--clip", str(tmp_path / "clip.mp4"), "--sound", str(tmp_path / "sound.wav")]
    assert program.main(options) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(row[0] < 40 and row[3] > 215 for row in told["grey"])
    assert told["sound"] == [0, 0, 127, 127]


def test_workers_show_where_they_are_and_how_long_they_are_silent() -> None:
    fold = Workers()
    told = {"episode": "abc[red]", "step": "decoding", "window": 3, "windows": 9, "bytes": 2048}
    when = time.time() - 60
    fold.feed({"event": "export_progress", "worker": 1, "nulls": {"audio": 2}, "timestamp": when, **told})
    text = "".join(piece for line in worker_lines(fold, time.time()) for piece, _ in line)
    assert "window 3 of 9" in text
    assert "2 KiB  2 null media" in text
    assert "1m" in text


def test_torn_files_are_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "selection.json").write_text("{torn")
    (tmp_path / "episodes.jsonl").write_text("\xff")
    view = read_data({"select": tmp_path, "export": tmp_path, "manifest": tmp_path})
    assert view.episodes == ()
    assert view.conservation == (0, 0, 0, 0)

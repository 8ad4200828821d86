"""The Relay and the Transfer screen, on a log as the relay writes it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from consoles import PLAIN, RICH, settle, shown
from stage import Stage

from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import load_registry
from pipeline.engine.runs import create_run
from pipeline.transfer.control import read_control
from pipeline.transfer.view import DONE, FAILED, WAITING
from screens.app import Console
from screens.feed import WorkspaceFeed
from screens.widgets.chunkmap import ChunkMap

MIB = 1 << 20
SIZES = [(80, 24), (160, 48)]


def write(run: RunPaths, *events: dict[str, Any]) -> None:
    paths = run.stage("relay")
    paths.root.mkdir(parents=True, exist_ok=True)
    with paths.progress.open("a") as log:
        for event in events:
            log.write(json.dumps({"timestamp": time.time(), **event}) + "\n")


def files(count: int) -> list[str]:
    return [f"{number:08d}-0000-4000-8000-000000000000/ep1/annotation.hdf5" for number in range(count)]


def plan(count: int, chunks: int = 4) -> dict[str, Any]:
    size = chunks * MIB
    return {
        "event": "relay_plan",
        "batches": [
            {"number": n + 1, "episodes": 1, "files": 1, "bytes": size, "bytes_left": size}
            for n in range(count)
        ],
        "files": count,
        "bytes": count * size,
        "chunks": count * chunks,
        "chunk_bytes": MIB,
        "prefetch": 1,
        "destination": "op@train:/data",
        "relay_root": "/relay",
        "delete_after_transfer": True,
        "mode": "chunked",
    }


def moved(file: str, batch: int, chunks: int = 4, done: int = 4) -> list[dict[str, Any]]:
    of = {"file": file, "batch": batch}
    told: list[dict[str, Any]] = [
        {"event": "batch_download_start", "batch": batch, "files": 1, "bytes": chunks * MIB},
        {"event": "download_done", "bytes": chunks * MIB, **of},
        {"event": "batch_download_done", "batch": batch, "files": 1, "bytes": chunks * MIB},
        {"event": "batch_transfer_start", "batch": batch, "files": 1, "bytes": chunks * MIB},
        {"event": "file_start", "bytes": chunks * MIB, "chunks": chunks, "kept": 0, **of},
    ]
    told += [
        {
            "event": "chunk_done",
            "chunk": n,
            "chunks": chunks,
            "bytes": MIB,
            "lane": n % 2,
            "kept": False,
            **of,
        }
        for n in range(done)
    ]
    if done == chunks:
        told.append({"event": "file_done", "bytes": chunks * MIB, **of})
        told.append({"event": "batch_validated", "batch": batch})
    return told


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    workspace = WorkspacePaths(tmp_path / "workspace")
    workspace.runs.mkdir(parents=True)
    workspace.config.write_text('name = "test"\n')
    return create_run(workspace, load_registry(), WorkspaceConfig(), recipe="relay")


def console(run: RunPaths, **options: Any) -> Console:
    feed = WorkspaceFeed(WorkspacePaths(run.root.parent.parent), load_registry(), run.run_id)
    return Console(feed, capabilities=options.pop("capabilities", RICH), **options)


def begun(run: RunPaths) -> None:
    """Three batches: one proved, one on its way with a failed chunk, one to come."""
    names = files(3)
    write(
        run,
        plan(3),
        {"event": "lane_up", "lane": 0, "kind": "agent"},
        {"event": "lane_up", "lane": 1, "kind": "agent"},
        *moved(names[0], 1),
        *moved(names[1], 2, done=2),
        {
            "event": "chunk_failed",
            "file": names[1],
            "batch": 2,
            "chunk": 2,
            "lane": 1,
            "error": "bytes changed",
        },
        {"event": "lane_lost", "lane": 1, "error": "reset by [red]peer", "retry_in": 1.0},
        {
            "event": "space",
            "root": "relay",
            "path": "/relay",
            "free": 50 << 30,
            "used": MIB,
            "reserved": 0,
            "low": 1 << 30,
            "high": 2 << 30,
        },
        {"event": "space", "root": "destination", "path": "/data", "free": 90 << 30, "low": 0, "high": 0},
        {
            "event": "rates",
            "download_bytes_per_s": 20 * MIB,
            "transfer_bytes_per_s": 10 * MIB,
            "limit": "link",
        },
        {"event": "paused", "side": "download", "kind": "space", "reason": "batch 3 needs 40 GiB"},
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("capabilities", [RICH, PLAIN], ids=["rich", "plain"])
async def test_the_relay_tells_where_it_is_and_what_holds_it_up(
    run: RunPaths, size: tuple[int, int], capabilities: Any
) -> None:
    begun(run)
    app = console(run, capabilities=capabilities)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("2")
        await settle(pilot, lambda: "op@train:/data" in shown(app), "the headline")
        text = shown(app)
    assert "proved 4 MiB of 12 MiB (33 %)" in text
    assert "held up by: the connection to the training host" in text
    assert "download paused for" in text
    assert "batch 3 needs 40 GiB" in text
    assert "a stop now sends again at most" in text
    for state in ("proved", "transferring", "waiting"):
        assert state in text
    if capabilities is PLAIN:
        assert text.isascii()


async def test_foreign_text_is_shown_as_text(run: RunPaths) -> None:
    begun(run)
    app = console(run)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("2")
        await settle(pilot, lambda: "connection 1 lost" in shown(app), "the trouble")
        assert "reset by [red]peer" in shown(app)


@pytest.mark.parametrize("size", SIZES)
async def test_the_map_follows_the_log(run: RunPaths, size: tuple[int, int]) -> None:
    begun(run)
    app = console(run)
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await settle(pilot, lambda: "sent 6" in shown(app), "the chunks")
        assert "failed 1" in shown(app)
        assert "waiting 4" in shown(app)
        write(run, *moved(files(3)[1], 2)[-4:], *moved(files(3)[2], 3))
        await settle(pilot, lambda: "sent 12" in shown(app), "what came later")
        await pilot.press("m", "m")
        await settle(pilot, lambda: "one file" in shown(app) and "sent 4" in shown(app), "one file")


async def test_before_it_began_both_screens_say_how_to_begin(run: RunPaths) -> None:
    app = console(run)
    async with app.run_test(size=(80, 24)) as pilot:
        for key in "23":
            await pilot.press(key)
            await settle(pilot, lambda: "start it with r" in shown(app), "the advice")


async def test_holding_changes_the_control_and_is_journalled(run: RunPaths) -> None:
    begun(run)
    app = console(run)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot, lambda: "op@train" in shown(app), "the relay")
        await pilot.press("p")
        await settle(pilot, lambda: "Hold the transfer?" in shown(app), "the dialog")
        assert f"xops relay limit {run.run_id} --stage relay --pause transfer" in " ".join(
            shown(app).replace("|", "").split()
        )
        await pilot.press("enter")
        assert not read_control(run.stage("relay")).transfer_paused, "cancel is the default"
        await pilot.press("p")
        await settle(pilot, lambda: "Hold the transfer?" in shown(app), "the dialog")
        await pilot.press("right", "enter")
        await settle(pilot, lambda: read_control(run.stage("relay")).transfer_paused, "the pause")
    assert '"verb": "limit"' in run.journal.read_text()


async def test_a_chunk_is_asked_for_again(run: RunPaths) -> None:
    begun(run)
    app = console(run)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        await settle(pilot, lambda: "failed 1" in shown(app), "the map")
        await pilot.press(*["right"] * 6)
        await settle(pilot, lambda: "chunk 2 of 4" in shown(app), "the failed chunk")
        await pilot.press("t")
        await settle(pilot, lambda: "Send this again?" in shown(app), "the dialog")
        await pilot.press("right", "enter")
        await settle(pilot, lambda: bool(read_control(run.stage("relay")).retry), "the request")
    (retry,) = read_control(run.stage("relay")).retry
    assert (retry.file, retry.chunk) == (files(3)[1], 2)


async def test_limits_are_typed_and_nonsense_is_refused(run: RunPaths) -> None:
    begun(run)
    app = console(run)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot, lambda: "op@train" in shown(app), "the relay")
        await pilot.press("L")
        await settle(pilot, lambda: "Change the limits?" in shown(app), "the dialog")
        await pilot.press("6", "space", "5", "0", "enter", "right", "enter")
        await settle(pilot, lambda: read_control(run.stage("relay")).lanes == 6, "the limits")
    assert read_control(run.stage("relay")).bandwidth_mib_per_s == 50.0


async def test_read_only_changes_nothing(run: RunPaths) -> None:
    begun(run)
    app = console(run, read_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2", "p")
        await settle(pilot, lambda: "read-only: pause-transfer is refused" in shown(app), "the refusal")


async def test_thirty_six_thousand_chunks_fit_and_the_worst_of_a_cell_shows() -> None:
    app = Stage(ChunkMap())
    async with app.run_test(size=(80, 24)) as pilot:
        chunks = bytearray([DONE]) * 36_000
        chunks[17_000] = FAILED
        chunks[35_999] = WAITING
        view = app.query_one(ChunkMap)
        view.show(chunks)
        await pilot.pause()
        assert view.per_cell == -(-36_000 // (80 * 24))
        text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert text.count("✖") == 1
        assert text.count("·") == 1
        view.focus()
        await pilot.press("end")
        assert view.cursor[1] == 36_000
        await pilot.press("home", "space", "down")
        assert view.cursor == (0, view.per_cell * 81)

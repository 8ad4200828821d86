"""The console as a whole: leaving, read-only, palette, pause, save, trouble with files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from consoles import Lab, console, lab, settle, shown, text  # noqa: F401

from console.open import open_console
from pipeline.engine.digest import last_seen, remember_seen
from pipeline.engine.state import StageState
from screens.dialogs import ActDialog, LeaveDialog


async def test_leaving_stops_nothing_and_is_remembered(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain", a={"pause_at": 3})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    app = console(lab, run)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("q")
    assert lab.state(run, "a") is StageState.RUNNING
    assert last_seen(lab.workspace.root) is not None


async def test_reopening_tells_what_happened_since(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain")
    remember_seen(lab.workspace.root, time.time() - 3600)
    lab.finish(run, "a")
    app = console(lab, run)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: "since you left" in text(app, "news"), "the news")
        assert "1 finished" in text(app, "news")


async def test_ctrl_c_asks_and_does_nothing_by_default(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain")
    app = console(lab, run)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("ctrl+c")
        await settle(pilot, lambda: isinstance(app.screen, LeaveDialog), "the question")
        await pilot.press("enter")
        await settle(pilot, lambda: not isinstance(app.screen, LeaveDialog), "no question")
        assert app.is_running


async def test_read_only_refuses_every_act(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain")
    app = console(lab, run, read_only=True)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        for key in "rRsKwx":
            await pilot.press(key)
            await pilot.pause()
            assert not isinstance(app.screen, ActDialog)
            assert "read-only" in text(app, "footer")


async def test_a_command_can_be_typed(lab: Lab) -> None:  # noqa: F811
    app = console(lab, lab.new("chain"))
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("colon", *"theme mono", "enter")
        await settle(pilot, lambda: app.theme == "mono", "the theme")
        await pilot.press("ctrl+p", *"runs", "enter")
        await settle(pilot, lambda: app.screen.query("#runs"), "the runs")


async def test_y_copies_the_command_for_what_is_needed(lab: Lab) -> None:  # noqa: F811
    run = lab.new("quick", quick={"act": "fails"})
    lab.finish(run, "quick")
    app = console(lab, run)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.stage == "quick", "the stage")
        await pilot.press("y")
        assert app.clipboard == f"xops run resume {run.run_id} --only quick"


async def test_a_screen_is_saved_as_text_and_picture(
    lab: Lab,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    app = console(lab, lab.new("chain"))
    async with app.run_test() as pilot:
        await settle(pilot, lambda: "blocked" in shown(app), "the table")
        await pilot.press("S")
        await settle(pilot, lambda: list(tmp_path.glob("xops-*.txt")), "the text")
    saved = {path.suffix: path.read_text() for path in tmp_path.glob("xops-*")}
    assert "blocked" in saved[".txt"]
    assert "<svg" in saved[".svg"]


async def test_a_run_that_vanishes_leaves_the_rest_alive(lab: Lab) -> None:  # noqa: F811
    kept, gone = lab.new("chain"), lab.new("quick")
    app = console(lab, gone)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.stage == "quick", "the stage")
        os.rename(gone.root, lab.workspace.root / "elsewhere")
        await settle(pilot, lambda: app.target.run_id == kept.run_id, "the other run")


async def test_a_run_of_a_newer_version_is_named_in_the_list(lab: Lab) -> None:  # noqa: F811
    kept = lab.new("chain")
    newer = lab.workspace.run("29990101-000000-newer-0000")
    newer.root.mkdir()
    newer.request.write_text("schema = 99\n")
    app = console(lab)
    async with app.run_test() as pilot:
        await settle(pilot, lambda: app.target.run_id == kept.run_id, "the run that can be read")
        await pilot.press("9")
        await settle(pilot, lambda: "unreadable" in shown(app), "the row")
        await pilot.press("g")
        await settle(pilot, lambda: "newer xops" in text(app, "problem"), "the reason")


def test_without_a_terminal_the_overview_is_printed_once(
    lab: Lab,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = lab.new("chain")
    monkeypatch.setenv("XOPS_WORKSPACE", str(lab.workspace.root))
    assert open_console("plain") == 0
    told = capsys.readouterr().out
    assert run.run_id in told
    assert "waits for a (ready)" in told
    assert open_console("jsonl") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert [row["status"]["state"] for row in json.loads(line)["rows"]] == ["ready", "blocked", "blocked"]


def test_foreign_logs_are_printed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "v1" / "progress.jsonl"
    log.parent.mkdir()
    rows = ({"event": name, "run_id": "v1", "timestamp": 100.0} for name in ("setup_done", "complete"))
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert open_console("plain", roots=[tmp_path]) == 0
    assert "v1" in capsys.readouterr().out

"""The Runs screen."""

from __future__ import annotations

from consoles import Lab, console, lab, settle, shown  # noqa: F401

from pipeline.engine.state import StageState
from screens.feed import RunLine
from screens.runs import run_word


async def test_lists_runs_with_their_stages_and_opens_one(lab: Lab) -> None:  # noqa: F811
    failed, fresh = lab.new("quick", quick={"act": "fails"}), lab.new("chain")
    lab.finish(failed, "quick")
    app = console(lab, fresh)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("9")
        await settle(pilot, lambda: "failed" in shown(app) and "ready" in shown(app), "both runs")
        assert "NBB" in shown(app), "one letter per stage"
        assert "! 1" in shown(app), "one stage needs a human"
        await pilot.press("escape")
        await settle(pilot, lambda: app.screen.query("#stages"), "the overview")
        await pilot.press("9")
        await settle(pilot, lambda: app.screen.query("#runs"), "the runs again")
        table = app.screen.query_one("#runs")
        table.move_to(failed.run_id)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await settle(pilot, lambda: app.target.run_id == failed.run_id, "the failed run")
        await settle(pilot, lambda: app.stage == "quick", "its stage")


async def test_filter_keeps_what_contains_the_word(lab: Lab) -> None:  # noqa: F811
    lab.new("quick")
    lab.new("chain")
    app = console(lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("9")
        table = app.screen.query_one("#runs")
        await settle(pilot, lambda: len(table.row_ids) == 2, "both runs")  # type: ignore[attr-defined]
        await pilot.press("slash", *"quick", "enter")
        await settle(pilot, lambda: len(table.row_ids) == 1, "one run")  # type: ignore[attr-defined]
        await pilot.press("slash", "escape")
        await settle(pilot, lambda: len(table.row_ids) == 2, "both again")  # type: ignore[attr-defined]


def test_the_word_for_a_run_is_what_asks_for_attention_first() -> None:
    line = RunLine(run_id="r", states=(StageState.SUCCEEDED, StageState.FAILED, StageState.RUNNING))
    assert run_word(line) == "failed"
    assert run_word(RunLine(run_id="r", states=(StageState.SUCCEEDED,))) == "done"
    assert run_word(RunLine(run_id="r", problem="damaged")) == "unreadable"

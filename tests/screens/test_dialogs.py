"""Acts through dialogs: they say what happens, default to Cancel, and really happen in the engine."""

from __future__ import annotations

from consoles import Lab, console, lab, settle, shown, text  # noqa: F401
from textual.widgets import Button

from pipeline.engine.gates import Verdict
from pipeline.engine.journal import read_journal
from pipeline.engine.state import StageState
from screens.dialogs import ActDialog


async def test_runs_and_stops_a_stage(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain", a={"pause_at": 3})
    app = console(lab, run)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("r")
        await settle(pilot, lambda: not app.screen.query_one("#do", Button).disabled, "a plan")
        assert "start" in text(app, "answer")
        assert f"xops run start {run.run_id} --until a" in text(app, "twin")
        await pilot.press("right", "enter")
        await settle(pilot, lambda: lab.state(run, "a") is StageState.RUNNING, "a running stage")
        await settle(pilot, lambda: "running" in shown(app), "the row that says so")

        await pilot.press("s")
        await settle(pilot, lambda: not app.screen.query_one("#do", Button).disabled, "a preview")
        assert "stops: a" in text(app, "facts")
        await pilot.press("right", "enter")
        await settle(pilot, lambda: lab.state(run, "a") is StageState.CANCELLED, "a cancelled stage")
        await settle(pilot, lambda: "cancelled" in shown(app), "the row that says so")
    assert [line.verb for line in read_journal(run)][-2:] == ["start", "cancel"]


async def test_enter_alone_cancels(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain")
    app = console(lab, run)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("r")
        await settle(pilot, lambda: not app.screen.query_one("#do", Button).disabled, "a plan")
        await pilot.press("enter")
        await settle(pilot, lambda: not isinstance(app.screen, ActDialog), "a closed dialog")
    assert lab.state(run, "a") is StageState.READY


async def test_killing_wants_the_name_of_the_run(lab: Lab) -> None:  # noqa: F811
    run = lab.new("quick", quick={"act": "stubborn"})
    lab.start(run, "quick")
    lab.paused(run.stage("quick"))
    app = console(lab, run)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.target.stage and app.target.stage.state.active, "a running stage")
        await pilot.press("K")
        await settle(pilot, lambda: "looking" not in text(app, "answer"), "a preview")
        await pilot.press(*"yes", "enter", "right")
        assert app.screen.query_one("#do", Button).disabled
        app.screen.query_one("#typed").value = run.run_id  # type: ignore[attr-defined]
        await settle(pilot, lambda: not app.screen.query_one("#do", Button).disabled, "permission")
        app.screen.query_one("#do", Button).press()
        await settle(pilot, lambda: not lab.state(run, "quick").active, "a dead stage")


async def test_waiving_needs_a_reason_and_opens_the_gate(lab: Lab) -> None:  # noqa: F811
    run = lab.new("gates", gated={"gate": "fail"})
    lab.finish(run, "a")
    lab.finish(run, "gated")
    app = console(lab, run)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.stage == "gated", "the stage")
        await pilot.press("w")
        await settle(pilot, lambda: "looking" not in text(app, "answer"), "a preview")
        assert "the gate was told to fail" in text(app, "facts")
        assert app.screen.query_one("#do", Button).disabled
        await pilot.press(*"fine")
        await settle(pilot, lambda: not app.screen.query_one("#do", Button).disabled, "permission")
        assert "--why fine" in text(app, "twin")
        app.screen.query_one("#do", Button).press()
        await settle(pilot, lambda: lab.status(run, "gated").verdict is Verdict.WAIVED, "a waiver")


async def test_what_the_engine_refuses_shows_with_its_hint(lab: Lab) -> None:  # noqa: F811
    run = lab.new("gates", strict={"gate": "fail"})
    lab.finish(run, "a")
    lab.finish(run, "strict")
    app = console(lab, run)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.stage == "strict", "the stage")
        await pilot.press("w")
        await settle(pilot, lambda: "cannot be waived" in text(app, "answer"), "the refusal")
        assert "mend what it found" in text(app, "answer")
        assert app.screen.query_one("#do", Button).disabled

"""The Overview: stages of real runs, what needs a human, the selected stage in detail."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from consoles import PLAIN, RICH, Lab, StillFeed, console, lab, settle, shown, snapshot, still, text  # noqa: F401
from textual.pilot import Pilot

from pipeline.engine.snapshot import Row, RunSnapshot
from pipeline.engine.state import StageState, StageStatus
from screens.app import Console
from screens.feed import Picture, RunLine
from screens.overview import short_age


@pytest.fixture
def gates(lab: Lab) -> RunSnapshot:  # noqa: F811
    """A run whose gates wait for a person."""
    run = lab.new("gates", gated={"gate": "fail"}, strict={"gate": "sign"})
    for stage in ("a", "gated", "strict"):
        lab.finish(run, stage)
    return snapshot(lab, run)


def picture(found: RunSnapshot) -> Picture:
    states = tuple(row.status.state for row in found.rows)
    line = RunLine(run_id=found.run_id, states=states, needs_human=len(found.needs_human))
    return Picture(runs=(line,), snapshot=found, ready=True)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
@pytest.mark.parametrize("capabilities", [RICH, PLAIN], ids=["rich", "plain"])
def test_looks_as_agreed(snap_compare: Any, gates: RunSnapshot, size: Any, capabilities: Any) -> None:
    app = Console(StillFeed(picture(still(gates))), capabilities=capabilities)

    async def drawn(pilot: Pilot[Any]) -> None:
        await settle(pilot, lambda: app.stage == "gated", "the picture")
        await settle(pilot, lambda: "next: xops gate waive" in shown(app), "the detail")

    assert snap_compare(app, terminal_size=size, run_before=drawn)


async def test_tells_what_needs_a_human_and_the_command_for_it(gates: RunSnapshot) -> None:
    app = Console(StillFeed(picture(gates)), capabilities=RICH)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.stage, "a stage under the cursor")
        assert "2 need a human" in text(app, "header")
        assert app.stage == "gated", "what needs a human comes first"
        assert f"xops gate waive {gates.run_id} gated" in text(app, "detail")
        await pilot.press("n")
        await pilot.pause()
        assert app.stage == "strict"
        assert f"xops gate sign {gates.run_id} strict" in text(app, "detail")


async def test_state_is_told_without_colour_and_beyond_ascii(gates: RunSnapshot) -> None:
    app = Console(StillFeed(picture(gates)), capabilities=PLAIN)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: "blocked" in shown(app), "the table")
        assert shown(app).isascii()
        assert re.search(r"after +\S B blocked", shown(app))


async def test_an_empty_workspace_says_how_to_go_on(lab: Lab) -> None:  # noqa: F811
    app = console(lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: "xops run new RECIPE" in text(app, "detail"), "advice")


async def test_hostile_text_is_inert() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J[red]markup[/red]\u202e\r\n" + "A" * 30_000
    status = StageStatus(run_id="r", stage="\x1b[31mstage", state=StageState.FAILED, reason=evil)
    app = Console(
        StillFeed(Picture(snapshot=RunSnapshot(run_id=evil, rows=(Row(status=status),)), ready=True)),
        capabilities=RICH,
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: "failed" in shown(app), "the table")
        seen = shown(app)
        assert not {"\x1b", "\u202e", "\x07"} & set(seen)
        assert "[red]markup[/red]" in seen, "nobody parses markup in foreign text"


async def test_a_stage_that_moves_changes_its_row_only(gates: RunSnapshot) -> None:
    feed = StillFeed(picture(gates))
    app = Console(feed, capabilities=RICH)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: app.stage, "a stage under the cursor")
        await pilot.press("j")
        rows = tuple(
            msgspec.structs.replace(row, done=3, total=10) if row.stage == "a" else row for row in gates.rows
        )
        feed.picture = picture(msgspec.structs.replace(gates, rows=rows))
        await settle(pilot, lambda: "30%" in shown(app), "the new progress")
        assert app.stage == "strict", "the cursor stays on its row"


async def test_a_tiny_terminal_gets_one_line(gates: RunSnapshot) -> None:
    app = Console(StillFeed(picture(gates)), capabilities=RICH)
    async with app.run_test(size=(50, 10)) as pilot:
        await settle(pilot, lambda: "2! a:D gated:D" in shown(app), "the status line")


def test_ages_are_short() -> None:
    assert [short_age(s) for s in (0, 59, 60, 3599, 7200, 200_000)] == ["0s", "59s", "1m", "59m", "2h", "2d"]

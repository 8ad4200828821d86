"""The Log screen: events, journal and output of a stage, as they are written."""

from __future__ import annotations

from pathlib import Path

from consoles import Lab, console, lab, settle, shown  # noqa: F401

from screens.logtail import WINDOW, LogTail


async def test_follows_events_then_shows_journal_and_output(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain", a={"pause_at": 3})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    app = console(lab, run)
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("l")
        await settle(pilot, lambda: "paused" in shown(app) and "item_done" in shown(app), "the events")
        lab.release(run.stage("a"))
        await settle(pilot, lambda: "stage_exit" in shown(app) or "item=9" in shown(app), "what came later")
        await pilot.press("tab")
        await settle(pilot, lambda: "start a -> ok" in shown(app), "the journal")
        await pilot.press("escape")
        await settle(pilot, lambda: app.screen.query("#stages"), "the overview")


async def test_filter_keeps_lines_with_the_word(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain")
    lab.finish(run, "a")
    app = console(lab, run)
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot, lambda: app.stage == "a", "the stage")
        await pilot.press("0")
        await settle(pilot, lambda: "item=7" in shown(app), "the events")
        await pilot.press("slash", *"item=7", "enter")
        await settle(pilot, lambda: "item=7" in shown(app) and "item=8" not in shown(app), "one line")


def test_rows_are_merged_by_time_whatever_their_clock(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    ours.write_text('{"event": "second", "time": 1000000002.0}\n')
    theirs.write_text(
        '{"event": "first", "timestamp": 1000000001}\n'
        '{"event": "third", "time": "2001-09-09T01:46:43+00:00"}\n'
    )
    lines = [text for text, _ in LogTail([(ours, "o"), (theirs, "t")]).read()]
    assert [line.split()[2] for line in lines] == ["first", "second", "third"]


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "one"}\n{"event": ')
    tail = LogTail([(log, "a")])
    assert len(tail.read()) == 1
    with log.open("a") as file:
        file.write('"two"}\n')
    assert "two" in tail.read()[0][0]
    assert tail.read() == []


def test_of_a_long_log_the_end_is_read_and_damage_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"event": "old"}\n' * (WINDOW // 10) + b"\xff\x00 not json\n[1]\n")
    lines = LogTail([(log, "a")]).read()
    assert len(lines) <= WINDOW // 17 + 2
    assert sum(tone == "warning" for _, tone in lines) == 2


def test_a_log_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "one"}\n' * 5)
    tail = LogTail([(log, "a")])
    assert len(tail.read()) == 5
    log.write_text('{"event": "new"}\n')
    assert "new" in tail.read()[0][0]
    log.unlink()
    assert tail.read() == []

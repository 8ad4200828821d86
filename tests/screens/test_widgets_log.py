"""The log: follows until told otherwise, forgets from the top, shows anything harmlessly."""

from __future__ import annotations

from stage import Stage, lines

from screens.widgets.journal_log import LINE_LIMIT, JournalLog


async def test_it_follows_its_end_until_somebody_looks_up() -> None:
    log = JournalLog()
    async with Stage(log).run_test(size=(80, 20)) as pilot:
        log.append(f"line {i}" for i in range(100))
        assert lines(log)[-1] == "line 99"
        await pilot.press("k")
        assert not log.following
        log.append(["line 100"])
        assert lines(log)[-1] == "line 98"
        await pilot.press("f")
        assert log.following
        assert lines(log)[-1] == "line 100"
        await pilot.press("g")
        assert (lines(log)[0], log.following) == ("line 0", False)
        await pilot.press("G")
        log.append(["line 101"])
        assert lines(log)[-1] == "line 101"


async def test_it_keeps_what_it_was_told_and_counts_what_it_forgot() -> None:
    log = JournalLog(limit=100)
    async with Stage(log).run_test(size=(80, 20)):
        for i in range(1000):
            log.append([f"line {i}"])
        assert log.total + log.forgotten == 1000
        assert 100 <= log.total <= 110
        assert lines(log)[-1] == "line 999"


async def test_forgetting_does_not_move_what_somebody_reads() -> None:
    log = JournalLog(limit=100)
    async with Stage(log).run_test(size=(80, 20)) as pilot:
        log.append(f"line {i}" for i in range(100))
        await pilot.press("k", "k")
        top = lines(log)[0]
        log.append(f"more {i}" for i in range(30))
        assert log.forgotten == 30
        assert lines(log)[0] == top


async def test_a_filter_applies_to_old_and_new_lines() -> None:
    log = JournalLog(limit=50)
    async with Stage(log).run_test(size=(80, 20)):
        log.append(f"line {i}" for i in range(20))
        log.filter(lambda text: text.endswith("7"))
        assert (log.shown, log.total) == (2, 20)
        log.append(["x 7", "x 8"])
        assert [line for line in lines(log) if line] == ["line 7", "line 17", "x 7"]
        log.append(f"later {i}" for i in range(60))
        assert log.shown == sum(log.text_at(i).endswith("7") for i in range(log.shown)) == 5
        log.filter(lambda text: False)
        assert "pass the filter" in lines(log)[0]
        log.filter(None)
        assert log.shown == log.total


async def test_find_goes_to_the_next_match_in_either_direction() -> None:
    log = JournalLog()
    async with Stage(log).run_test(size=(80, 20)):
        log.append(("nan here" if i in (10, 50) else f"line {i}") for i in range(100))
        assert log.find(lambda text: "nan" in text, -1)
        assert lines(log)[0] == "nan here"
        assert log.scroll_offset.y == 50
        assert log.find(lambda text: "nan" in text, -1)
        assert log.scroll_offset.y == 10
        assert not log.find(lambda text: "nan" in text, -1)
        assert log.find(lambda text: "nan" in text)
        assert log.scroll_offset.y == 50
        assert not log.following


async def test_a_huge_line_is_cut_and_says_how_much_of_it_is_missing() -> None:
    log = JournalLog()
    async with Stage(log).run_test(size=(80, 20)) as pilot:
        log.append(["x" * 600_000])
        assert len(log.text_at(0)) == LINE_LIMIT
        assert lines(log)[0].endswith("(+584k more)")
        await pilot.press("right")
        assert lines(log)[0].startswith("x")


async def test_looking_along_a_long_line() -> None:
    log = JournalLog()
    async with Stage(log).run_test(size=(80, 20)) as pilot:
        log.append(["".join(str(i % 10) for i in range(200)), "\u6f22" * 60])
        await pilot.press("right")
        assert lines(log)[0].startswith("6789")
        assert log.render_line(1).cell_length == log.line_width
        await pilot.press("left", "left")
        assert lines(log)[0].startswith("0123")


async def test_whatever_a_line_holds_it_takes_one_row_and_no_control() -> None:
    log = JournalLog()
    nasty = [
        "\x1b[2J\x1b[31mred",
        "a\rb\tc\x00",
        "\u202eevil",
        "[bold]not markup[/bold]",
        "\udcff",
        "\u6f22" * 100,
    ]
    async with Stage(log).run_test(size=(60, 20)):
        log.append(nasty)
        strips = [log.render_line(y) for y in range(len(nasty))]
    assert all(strip.cell_length == 60 for strip in strips)
    text = "".join(strip.text for strip in strips)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char == "\u202e" for char in text)
    assert "[bold]not markup[/bold]" in text


async def test_clearing() -> None:
    log = JournalLog(empty="nothing was written")
    async with Stage(log).run_test(size=(60, 20)):
        log.append(["a"])
        log.clear()
        assert lines(log)[0] == "nothing was written"
        log.append(["b"])
        assert lines(log)[0] == "b"

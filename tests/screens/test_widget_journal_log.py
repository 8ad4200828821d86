"""A log follows its end until somebody looks elsewhere, forgets its oldest lines, and shows text as data."""

from __future__ import annotations

from widget_gallery import HOSTILE, Holding, shown

from screens.widgets.journal_log import JournalLog


def numbered(first: int, last: int) -> list[str]:
    return [f"line {n}" for n in range(first, last)]


async def test_it_follows_until_scrolled_and_resumes_at_the_end() -> None:
    log = JournalLog()
    async with Holding(log).run_test(size=(80, 24)) as pilot:
        log.append(numbered(0, 100))
        await pilot.pause()
        assert shown(log)[-1].strip() == "line 99"
        await pilot.press("k")
        assert not log.following
        top = shown(log)[0]
        log.append(numbered(100, 200))
        await pilot.pause()
        assert shown(log)[0] == top
        await pilot.press("G")
        assert log.following
        assert shown(log)[-1].strip() == "line 199"


async def test_it_keeps_what_the_limit_allows_and_counts_the_rest() -> None:
    log = JournalLog(limit=100)
    async with Holding(log).run_test(size=(80, 24)):
        for start in range(0, 1000, 50):
            log.append(numbered(start, start + 50))
        assert log.total <= 110
        assert log.total + log.forgotten == 1000
        assert shown(log)[-1].strip() == "line 999"


async def test_a_filter_applies_to_old_and_new_lines_and_to_forgotten_ones() -> None:
    log = JournalLog(limit=100)
    async with Holding(log).run_test(size=(80, 24)):
        log.append(numbered(0, 90))
        log.filter(lambda text: text.endswith("5"))
        assert log.shown == 9
        log.append(numbered(90, 300))
        assert all(log.text_at(i).endswith("5") for i in range(log.shown))
        assert log.text_at(log.shown - 1) == "line 295"
        log.filter(lambda _text: False)
        assert "pass the filter" in shown(log)[0]
        log.filter(None)
        assert log.shown == log.total


async def test_find_goes_to_the_next_match_either_way() -> None:
    log = JournalLog()
    async with Holding(log).run_test(size=(80, 24)):
        log.append(numbered(0, 500))
        assert log.find(lambda text: text == "line 250", -1)
        assert shown(log)[0].strip() == "line 250"
        assert not log.find(lambda text: text == "line 100")
        assert not log.following


async def test_a_line_of_600_kilobytes_is_cut_and_says_so() -> None:
    log = JournalLog()
    async with Holding(log).run_test(size=(80, 24)) as pilot:
        log.append(["x" * 600_000])
        await pilot.pause()
        assert shown(log)[0].rstrip().endswith("(+584k more)")
        await pilot.press("right")
        assert log.render_line(0).cell_length == log.line_width


async def test_hostile_lines_take_one_line_each() -> None:
    log = JournalLog()
    async with Holding(log).run_test(size=(80, 24)):
        log.append([HOSTILE, "next"])
        first, second = shown(log)[:2]
        assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in first)
        assert "<U+202E>" in first
        assert "[bold]x[/]" in first
        assert second.strip() == "next"

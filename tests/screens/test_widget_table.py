"""A table repaints what changed, keeps its cursor on its row, and shows foreign text as data."""

from __future__ import annotations

import pytest
from widget_gallery import HOSTILE, Holding, refreshed, shown

from screens.widgets.columns import Column, layout
from screens.widgets.table import Table

COLUMNS = [Column("name", "Name", 10), Column("size", "Size", 8, right=True)]


def rows(count: int) -> list[tuple[str, tuple[str, int]]]:
    return [(f"id{n}", (f"row{n}", n)) for n in range(count)]


async def test_one_changed_row_of_many_repaints_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(COLUMNS, rows(100_000))
    async with Holding(table).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        regions = refreshed(table, monkeypatch)
        changed = rows(100_000)
        changed[3] = ("id3", ("row3", -7))
        changed[50_000] = ("id50000", ("row50000", -8))  # out of sight: costs nothing
        table.set_rows(changed)
        assert [(region.y, region.height) for region in regions] == [(4, 1)]
        assert shown(table)[4].split() == ["row3", "-7"]


async def test_the_same_rows_again_repaint_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(COLUMNS, rows(50))
    async with Holding(table).run_test() as pilot:
        await pilot.pause()
        regions = refreshed(table, monkeypatch)
        table.set_rows(rows(50))
        assert regions == []


async def test_the_cursor_moves_with_two_lines_and_stays_with_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(COLUMNS, rows(50))
    async with Holding(table).run_test() as pilot:
        await pilot.press("down", "j")
        assert table.cursor_id == "id2"
        regions = refreshed(table, monkeypatch)
        await pilot.press("k")
        assert {(region.y, region.height) for region in regions} == {(2, 1), (3, 1)}
        table.sort("size", reverse=True)
        assert table.row_ids[0] == "id49"
        assert table.cursor_id == "id1"


async def test_keys_reach_both_ends_pages_and_marks() -> None:
    table = Table(COLUMNS, rows(1000))
    async with Holding(table).run_test() as pilot:
        await pilot.press("G")
        assert table.cursor_id == "id999"
        await pilot.press("g", "ctrl+d")
        assert table.cursor_id == "id22"
        await pilot.press("ctrl+u", "space", "space")
        assert table.targets == ["id0", "id1"]
        assert table.move_to("id700")
        assert any("row700" in line for line in shown(table))
        assert not table.move_to("no such row")


async def test_a_filter_hides_rows_and_a_sort_orders_numbers_as_numbers() -> None:
    table = Table(COLUMNS, [("a", ("a", 10)), ("b", ("b", None)), ("c", ("c", 9)), ("d", ("d", 100))])
    async with Holding(table).run_test():
        table.sort("size")
        assert list(table.row_ids) == ["c", "a", "d", "b"]
        table.sort("size", reverse=True)
        assert list(table.row_ids) == ["d", "a", "c", "b"]
        table.filter(lambda row_id, _values: row_id in "ab")
        assert list(table.row_ids) == ["a", "b"]
        table.filter(lambda _row_id, _values: False)
        assert table.cursor_id is None
        table.filter(None)
        assert len(table.row_ids) == table.total == 4


async def test_messages_tell_which_row() -> None:
    seen: list[tuple[str, str]] = []

    class Listening(Holding):
        def on_table_highlighted(self, event: Table.Highlighted) -> None:
            seen.append(("at", event.row_id))

        def on_table_selected(self, event: Table.Selected) -> None:
            seen.append(("open", event.row_id))

    async with Listening(Table(COLUMNS, rows(5))).run_test() as pilot:
        seen.clear()
        await pilot.press("down", "enter")
    assert seen == [("at", "id1"), ("open", "id1")]


async def test_hostile_text_stays_in_its_cell() -> None:
    table = Table([Column("name", "Name", 40), Column("end", "End", 5)], [("x", (HOSTILE, "fine"))])
    async with Holding(table).run_test(size=(80, 24)):
        line = shown(table)[1]
        assert "[bold]" in line
        assert "<U+202E>" in line
        assert line.rstrip().endswith("fine")
        assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in line)
        assert table.render_line(1).cell_length == table.line_width


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 2), (500, 3)])
async def test_any_size_works(size: tuple[int, int]) -> None:
    table = Table(COLUMNS, rows(10))
    table.styles.width, table.styles.height = size
    async with Holding(table).run_test(size=(520, 50)) as pilot:
        await pilot.press("G", "g", "ctrl+d")
        assert all(table.render_line(y).cell_length == table.line_width for y in range(table.size.height))


def test_high_priorities_give_way_first() -> None:
    columns = [Column("a", "A", 10), Column("b", "B", 10, priority=2), Column("c", "C", 10, priority=1)]
    assert [index for index, _ in layout(columns, 34)] == [0, 1, 2]
    assert [index for index, _ in layout(columns, 33)] == [0, 2]
    assert [index for index, _ in layout(columns, 12)] == [0]
    assert layout(columns, 4) == [(0, 4)]

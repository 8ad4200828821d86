"""The table: rows keep their identity, only what changed is painted, no text can break a line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import Stage, lines
from textual.geometry import Region

from screens.terminal.glyphs import ASCII
from screens.widgets.columns import SPACE, Column, layout
from screens.widgets.table import Table

COLUMNS = [
    Column("name", "Name", 10, grows=True),
    Column("loss", "Loss", 8, right=True, priority=1),
    Column("host", "Host", 6, priority=2),
]


def table(count: int = 5, **options: Any) -> Table:
    rows = [(f"r{i}", (f"row {i}", i / 10, "h" + str(i % 2))) for i in range(count)]
    return Table(COLUMNS, rows, **options)


class Painted(Table):
    """Notes which regions were asked to be painted again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.regions: list[Region] = []
        self.whole = 0
        super().__init__(*args, **options)

    def refresh(self, *regions: Region, **options: Any) -> Any:
        self.regions += regions
        self.whole += not regions
        return super().refresh(*regions, **options)


async def test_rows_show_under_their_headings() -> None:
    one = table(2)
    async with Stage(one).run_test(size=(40, 16)):
        shown = lines(one)
    assert shown[0].split() == ["Name", "Loss", "Host"]
    assert shown[1].startswith("\u25b8 row 0")
    assert shown[2].split() == ["row", "1", "0.1", "h1"]


async def test_one_changed_value_repaints_one_row() -> None:
    one = Painted(COLUMNS, [(f"r{i}", (f"row {i}", 0.5, "h")) for i in range(100)])
    async with Stage(one).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        one.regions.clear()
        whole = one.whole
        one.update_cell("r3", "loss", 0.25)
        one.update_cell("r90", "loss", 0.75)  # not visible
        one.update_cell("r4", "loss", 0.5)  # not changed
        assert one.regions == [Region(0, 4, one.line_width, 1)]
        assert one.whole == whole
        assert "0.25" in lines(one)[4]


async def test_cursor_and_marks_stay_with_their_rows_whatever_moves() -> None:
    one = table(5)
    async with Stage(one).run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "j", "space")
        assert one.marked == {"r2"}
        assert one.cursor_id == "r3"
        one.sort("loss", reverse=True)
        assert list(one.row_ids) == ["r4", "r3", "r2", "r1", "r0"]
        assert one.cursor_id == "r3"
        one.filter(lambda row_id, values: values[2] == "h1")
        assert list(one.row_ids) == ["r3", "r1"]
        assert one.targets == []  # the marked row is filtered away: nothing unseen is acted upon
        one.filter(None)
        one.remove_rows(["r2"])
        assert one.marked == set()
        assert one.targets == ["r3"]


async def test_keys_move_mark_and_open() -> None:
    seen: list[tuple[str, str]] = []

    class Listening(Stage):
        def on_table_selected(self, message: Table.Selected) -> None:
            seen.append(("opened", message.row_id))

        def on_table_highlighted(self, message: Table.Highlighted) -> None:
            seen.append(("at", message.row_id))

    one = table(200)
    async with Listening(one).run_test(size=(80, 24)) as pilot:
        await pilot.press("G", "enter", "g", "ctrl+d", "k")
        assert seen == [("at", "r199"), ("opened", "r199"), ("at", "r0"), ("at", "r22"), ("at", "r21")]
        await pilot.press("g", "space", "j", "j", "ctrl+space")
        assert one.targets == ["r0", "r1", "r2", "r3"]
        one.clear_marks()
        assert one.targets == ["r3"]


async def test_the_cursor_is_always_in_sight() -> None:
    one = table(100)
    async with Stage(one).run_test(size=(80, 24)) as pilot:
        for _ in range(30):
            await pilot.press("j")
        assert any(line.startswith("\u25b8 row 30") for line in lines(one))
        await pilot.resize_terminal(80, 16)
        await pilot.pause()
        assert any(line.startswith("\u25b8 row 30") for line in lines(one))


async def test_a_click_moves_the_cursor_and_a_second_one_opens() -> None:
    opened: list[str] = []

    class Listening(Stage):
        def on_table_selected(self, message: Table.Selected) -> None:
            opened.append(message.row_id)

    one = table(5)
    async with Listening(one).run_test(size=(80, 24)) as pilot:
        await pilot.click(Table, offset=(5, 3))
        assert (one.cursor_id, opened) == ("r2", [])
        await pilot.click(Table, offset=(5, 3))
        assert opened == ["r2"]


async def test_what_is_missing_sorts_last_in_both_directions() -> None:
    rows = [
        ("a", ("a", None, "")),
        ("b", ("b", 2.0, "")),
        ("c", ("c", float("nan"), "")),
        ("d", ("d", 1.0, "")),
    ]
    one = Table(COLUMNS, rows)
    async with Stage(one).run_test():
        one.sort("loss")
        assert list(one.row_ids) == ["d", "b", "a", "c"]
        one.sort("loss")
        assert list(one.row_ids) == ["b", "d", "a", "c"]
        assert one.sorted_by == ("loss", True)
        one.update_cell("d", "loss", "not a number")
        one.sort("loss", reverse=False)
        assert set(one.row_ids[2:]) == {"a", "c"}
        one.sort(None)
        assert list(one.row_ids) == ["a", "b", "c", "d"]


async def test_a_value_of_the_sorted_column_moves_its_row_a_little_later() -> None:
    one = table(5)
    async with Stage(one).run_test() as pilot:
        one.sort("loss")
        one.update_cell("r0", "loss", 9.0)
        assert one.row_ids[0] == "r0"
        for _ in range(40):
            await pilot.pause(0.1)
            if one.row_ids[-1] == "r0":
                break
        assert list(one.row_ids) == ["r1", "r2", "r3", "r4", "r0"]


async def test_foreign_text_stays_in_its_cell() -> None:
    nasty = "\x1b[2J\x1b]0;t\x07a\nb\u202e[red]x[/]" + "\u6f22" * 50
    one = Table(COLUMNS, [("r", (nasty, None, nasty))])
    async with Stage(one).run_test(size=(60, 16)):
        strip = one.render_line(1)
        assert strip.cell_length == one.line_width
        assert "\x1b" not in strip.text
        assert "a b<U+202E>[red]" in strip.text
    plain = Table(COLUMNS, [("r", ("\u6f22\u5b57", None, ""))])
    async with Stage(plain, glyphs=ASCII).run_test(size=(60, 16)):
        assert "".join(lines(plain)).isascii()


async def test_an_empty_table_says_so_and_takes_every_key() -> None:
    one = Table(COLUMNS, empty="no runs yet: xops run new")
    async with Stage(one).run_test(size=(60, 16)) as pilot:
        await pilot.press("j", "k", "g", "G", "space", "ctrl+space", "enter", "pagedown")
        assert "no runs yet" in lines(one)[1]
        assert (one.cursor_id, one.targets) == (None, [])


async def test_unknown_names_are_errors() -> None:
    one = table()
    with pytest.raises(KeyError):
        one.update_cell("nobody", "loss", 1)
    with pytest.raises(KeyError):
        one.update_cell("r1", "nothing", 1)


async def test_a_hundred_thousand_rows_format_only_what_shows() -> None:
    formatted: list[Any] = []

    def show(value: Any, _glyphs: Any) -> str:
        formatted.append(value)
        return str(value)

    one = Table([Column("n", "N", 8, show=show)])
    async with Stage(one).run_test(size=(80, 24)) as pilot:
        one.set_rows((str(i), (i,)) for i in range(100_000))
        await pilot.press("G")
        await pilot.pause()
        assert "99999" in lines(one)[-1]
        assert len(formatted) < 500


columns = st.builds(
    Column,
    key=st.just("k"),
    title=st.just("t"),
    width=st.integers(1, 30),
    grows=st.booleans(),
    priority=st.integers(0, 3),
)


@given(st.lists(columns, max_size=8), st.integers(1, 200))
def test_columns_share_exactly_the_width_and_the_least_important_go_first(found, width: int) -> None:
    kept = layout(found, width)
    if not found:
        assert kept == []
        return
    total = sum(cells for _, cells in kept) + SPACE * (len(kept) - 1)
    assert kept[0][0] == 0
    assert total <= max(width, 1)
    if any(found[i].grows for i, _ in kept) and sum(found[i].width for i, _ in kept) <= width - SPACE * (
        len(kept) - 1
    ):
        assert total == width
    dropped = set(range(1, len(found))) - {i for i, _ in kept}
    if dropped and any(found[i].priority for i in dropped):
        least = min(found[i].priority for i in dropped if found[i].priority)
        assert all(found[i].priority <= least for i, _ in kept[1:])

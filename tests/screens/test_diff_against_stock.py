"""What our painter leaves on a terminal equals what Textual itself would have drawn, cell by cell."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("columns", "rows", "seed"), [(120, 40, 3), (80, 24, 7)])
def test_every_cell_looks_as_textual_draws_it(program, columns: int, rows: int, seed: int) -> None:
    pictures, sent = [], []
    for painter in ("stock", "ours"):
        terminal = program("ticks", painter, str(seed), columns=columns, rows=rows)
        terminal.wait_for("DONEMARK", 40)
        terminal.pump(1.0)
        pictures.append(terminal.cells())
        sent.append(len(terminal.data))
        terminal.send("q")
        assert terminal.wait() == 0
    stock, ours = pictures
    different = [
        (x, y, stock[y][x], ours[y][x])
        for y in range(rows)
        for x in range(columns)
        if stock[y][x] != ours[y][x]
    ]
    assert different == []
    assert sent[1] < sent[0] / 3

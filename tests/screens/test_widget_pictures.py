"""What all widgets look like together, in two sizes, without Unicode, and without colour."""

from __future__ import annotations

from typing import Any

import pytest
from widget_gallery import Gallery

from screens.terminal.glyphs import ASCII, BLOCK


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
def test_in_full(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(Gallery(), terminal_size=size)


def test_in_ascii(snap_compare: Any) -> None:
    assert snap_compare(Gallery(ASCII), terminal_size=(80, 24))


def test_in_blocks_without_colour(snap_compare: Any) -> None:
    assert snap_compare(Gallery(BLOCK, "mono"), terminal_size=(80, 24))

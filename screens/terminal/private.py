"""All of Textual that is not public API and that xops touches. Tested against Textual 8.2.

| name                                   | why                                                         |
|----------------------------------------|-------------------------------------------------------------|
| `ChopsUpdate`, `LayoutUpdate`          | the pictures a screen hands to `App._display`               |
| `App._display`, `App._batch_count`     | where those pictures pass (overridden in `screens.base`)    |
| `App._running`, `App._closed`          | whether they may still be drawn                             |
| `App._fatal_error`, `App._exception`,  | a crash becomes a redacted file instead of a traceback with |
| `App._print_error_renderables`,        | the values of local variables                               |
| `App._exit_renderables`, `App._close_messages_no_wait` |                                             |
| `App._sync_available`                  | whether the terminal batches output between two marks       |
| `App._driver`, `App._loop`             | the driver and loop of a running app                        |
| `LinuxDriver.exit_event`, `.fileno`    | the input loop of `screens.terminal.driver`                 |
| `XTermParser`                          | the same                                                    |

`tests/screens/test_terminal_private.py` fails when one of them changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual._xterm_parser import XTermParser
from textual.strip import Strip

__all__ = ["SYNC_END", "SYNC_START", "ChopsUpdate", "LayoutUpdate", "XTermParser", "placed_strips"]


def placed_strips(update: ChopsUpdate | LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield `(x, y, strip)` for everything an update would write, each strip once."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                yield x, y, strip
                x += strip.cell_length
        return
    seen: set[tuple[int, int, int]] = set()
    for y, start, end in update.spans:
        for stop, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            width = min(stop, end) - x
            if chop is None or x >= end or stop <= start or (x, y, width) in seen:
                continue
            seen.add((x, y, width))
            yield x, y, chop if stop <= end else chop.crop(0, width)

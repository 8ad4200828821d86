"""The Transfer screen: every chunk of the selection, a batch or a file; files, connections, failures."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget

from pipeline.transfer.view import File, RelayFold
from screens.pane import Pane
from screens.relay import RelayFrame
from screens.relay_lines import trouble_lines
from screens.widgets.chunkmap import LOOKS, ChunkMap
from screens.widgets.columns import Column
from screens.widgets.lines import Piece
from screens.widgets.table import Table
from screens.widgets.units import spoken_bytes, spoken_duration

_TONES = {"proved": "success", "failed": "error", "sending": "primary", "downloading": "primary"}


def _state(value: Any, _: Any) -> Any:
    return str(value), _TONES.get(str(value), "muted")


def _file(value: Any, glyphs: Any) -> str:
    """A path with its session cut: the end is what tells files apart."""
    session, slash, rest = str(value).partition("/")
    return f"{session[:8]}{glyphs.ellipsis}/{rest}" if slash and len(session) > 10 else str(value)


def _bytes(value: Any, _: Any) -> str:
    return spoken_bytes(value)


COLUMNS = (
    Column("file", "File", 30, grows=True, show=_file),
    Column("state", "State", 11, show=_state),
    Column("bytes", "Size", 9, right=True, show=_bytes),
    Column("chunks", "Chunks", 9, right=True, priority=1),
    Column("sent", "Sent", 9, right=True, priority=2, show=_bytes),
    Column("kept", "Was there", 9, right=True, priority=3, show=_bytes),
    Column("batch", "Batch", 5, right=True, priority=2),
)


class TransferScreen(RelayFrame):
    """Key 3."""

    called = "transfer"
    DEFAULT_CSS = """
    TransferScreen #map { height: 2fr; min-height: 4; }
    TransferScreen #files { height: 1fr; min-height: 4; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("tab", "switch", "Map or files", show=False, priority=True),
        Binding("m", "scope", "Selection, batch, file", show=False),
        Binding("escape", "app.do('overview')", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._scope = 0
        self._known: set[str] = set()

    def body(self) -> ComposeResult:
        """What the map shows, the map, what the cursor is on, the files, what went wrong."""
        yield Pane(id="what")
        yield ChunkMap(id="map")
        yield Pane(id="under")
        yield Table(COLUMNS, id="files", empty="no file has begun yet")
        yield Pane(id="troubles")

    def main(self) -> Widget:
        """The map."""
        return self.query_one("#map", ChunkMap)

    def narrow(self, word: str) -> None:
        """Only files with the word in name or state."""
        wanted = (lambda _, values: word in " ".join(map(str, values)).lower()) if word else None
        self.query_one("#files", Table).filter(wanted)

    def action_switch(self) -> None:
        """From the map to the files and back."""
        table = self.query_one("#files", Table)
        (self.query_one("#map", ChunkMap) if table.has_focus else table).focus()

    def action_scope(self) -> None:
        """Show the whole selection, the batch of the file under the cursor, or that file."""
        self._scope = (self._scope + 1) % 3
        self._draw()

    @property
    def chosen(self) -> tuple[File, int | None] | None:
        """The file, and the chunk if it is certain, that a retry would be about."""
        files = self._files(self.fold)
        chunk_map = self.query_one("#map", ChunkMap)
        if not files:
            return None
        if self.query_one("#files", Table).has_focus:
            found = self.fold.files.get(self.query_one("#files", Table).cursor_id or "")
            return (found, None) if found else None
        first, after = chunk_map.cursor
        for file in files:
            if first < file.chunks:
                return file, first if after - first == 1 else None
            first, after = first - file.chunks, after - file.chunks
        return None

    def draw(self) -> None:
        """Draw what is known."""
        fold, now = self.fold, time.time()
        files = self._files(fold)
        cells = bytearray()
        for file in files:
            cells += file.cells
        missing = self._untold(fold, len(cells))
        self.query_one("#map", ChunkMap).show(cells + bytes(missing))
        self.query_one("#what", Pane).show([self._legend(fold, files, missing)])
        self._draw_files(fold)
        self._draw_under()
        lanes: list[Piece] = [
            (f"{lane.number}:{spoken_bytes(lane.bytes)} ", "text" if lane.since or fold.ended else "warning")
            for lane in fold.lanes.values()
        ]
        quiet = fold.quiet_files(now) if not fold.ended else []
        stuck: list[Piece] = [
            (f"no byte for {spoken_duration(now - f.touched)}: {f.path}  ", "error") for f in quiet[:2]
        ]
        told = [[("by connection: ", "muted"), *lanes]] if lanes else []
        told += [stuck] if stuck else []
        self.query_one("#troubles", Pane).show([*told, *trouble_lines(fold, 3, now)])

    @on(ChunkMap.Moved)
    @on(Table.Highlighted)
    def _moved(self) -> None:
        self._draw_under()

    def _files(self, fold: RelayFold) -> list[File]:
        """The files whose chunks the map shows."""
        every = list(fold.files.values())
        under = fold.files.get(self.query_one("#files", Table).cursor_id or "")
        if self._scope == 0 or under is None:
            return every
        return [file for file in every if file.batch == under.batch] if self._scope == 1 else [under]

    def _untold(self, fold: RelayFold, told: int) -> int:
        """Chunks that no event named yet; only the whole selection has such."""
        return max(0, int(fold.plan.get("chunks") or 0) - told) if self._scope == 0 else 0

    def _legend(self, fold: RelayFold, files: list[File], missing: int) -> list[Piece]:
        if not fold.plan and not files:
            return [("nothing has been moved yet; start it with r on the Overview", "muted")]
        scope = ("the whole selection", "one batch", "one file")[self._scope]
        plain = self.console.glyphs.name == "ascii"
        pieces: list[Piece] = [(f"{scope} (m)  ", "text bold")]
        cells = b"".join(bytes(file.cells) for file in files) + bytes(missing)
        for code, look in LOOKS.items():
            name = look.name.split()[0]
            pieces.append((f"{look.plain if plain else look.glyph} {name} {cells.count(code)}  ", look.tone))
        return pieces

    def _draw_files(self, fold: RelayFold) -> None:
        table = self.query_one("#files", Table)
        rows = {
            path: (
                path,
                file.state,
                file.bytes,
                f"{sum(code in (2, 3) for code in file.cells)}/{file.chunks}",
                file.sent,
                file.kept,
                file.batch,
            )
            for path, file in fold.files.items()
        }
        if set(rows) != self._known:
            self._known = set(rows)
            table.set_rows(rows.items())
        else:
            for path, values in rows.items():
                table.update_row(path, values)

    def _draw_under(self) -> None:
        chosen = self.chosen
        if chosen is None:
            self.query_one("#under", Pane).show([])
            return
        file, chunk = chosen
        where = f"chunk {chunk} of {file.chunks}" if chunk is not None else f"{file.chunks} chunks"
        self.query_one("#under", Pane).show(
            [[(f"{file.path}  ", "accent"), (f"{where}, {file.state}, batch {file.batch}", "muted")]]
        )

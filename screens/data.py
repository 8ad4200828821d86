"""The Data screen: every selected episode with its flags and fate, balance of the splits, export workers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget
from textual.worker import Worker

from pipeline.engine.folded import FoldedLog
from pipeline.engine.snapshot import RunSnapshot
from pipeline.views.data import FLAGS, Balance, DataView, EpisodeLine, read_data
from screens.dialogs import ReadDialog
from screens.feed import Picture
from screens.frame import Frame
from screens.pane import Line, Pane
from screens.terminal.glyphs import Glyphs
from screens.widgets.columns import Column, Shown
from screens.widgets.table import Table
from screens.widgets.units import spoken_bytes, spoken_duration

#: Stages whose published files the screen reads, and the one whose log it follows.
_STAGES = ("select", "discover", "manifest", "audit", "export")
_WORKERS = 4

#: Cells of the picture of a clip, and seconds one may take.
_COLUMNS, _ROWS, _TIMEOUT_S = 68, 16, 20.0
_RAMP = " .:-=+*#%@"


def _short(value: Any, glyphs: Glyphs) -> Shown:
    session, _, rest = str(value).partition("/")
    return f"{session[:8]}{glyphs.ellipsis}/{rest}" if len(session) > 10 and rest else str(value)


def _fate(value: tuple[str, int], _glyphs: Glyphs) -> Shown:
    reason, findings = value
    if reason:
        return f"out: {reason}", "error bold"
    return (f"{findings} findings", "warning") if findings else ("used", "success")


COLUMNS = (
    Column("episode", "Episode", 14, show=_short),
    Column("split", "Split", 5),
    Column("windows", "Windows", 7, right=True),
    Column("fate", "State", 14, grows=True, show=_fate),
    Column("frames", "Frames", 6, right=True, priority=1),
    Column("flags", "CSPDdHBTILl", 11, priority=2),
    Column("band", "Band", 9, priority=3),
    Column("task", "Task", 20, priority=4),
)


class Workers:
    """What the export's workers told last; a fold."""

    def __init__(self) -> None:
        self.newest: dict[Any, Mapping[str, Any]] = {}
        self.last: float | None = None

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event."""
        if isinstance(event.get("timestamp"), (int, float)):
            self.last = float(event["timestamp"])
        if event.get("event") == "export_progress":
            self.newest[event.get("worker")] = event


class DataScreen(Frame):
    """Key D."""

    called = "data"
    DEFAULT_CSS = """
    DataScreen #episodes { height: 1fr; min-height: 5; }
    DataScreen #balance, DataScreen #workers { max-height: 8; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape", "app.do('overview')", show=False),
        Binding("o", "glimpse", "Clip and sound", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._view = DataView()
        self._of: tuple[Any, ...] = ()
        self._reading: Worker[None] | None = None
        self._log: FoldedLog[Workers] | None = None

    def body(self) -> ComposeResult:
        """Conservation, balance, workers, episodes, and the one under the cursor."""
        yield Pane(id="conserved", fold=True)
        yield Pane(id="balance")
        yield Pane(id="workers")
        yield Table(COLUMNS, id="episodes", empty="no episode is selected yet")
        yield Pane(id="episode", fold=True)

    def main(self) -> Widget:
        """The table of episodes."""
        return self.query_one("#episodes", Table)

    def narrow(self, word: str) -> None:
        """Only episodes with the word in any column."""
        wanted = (lambda row, values: word in f"{row} {values}".lower()) if word else None
        self.query_one("#episodes", Table).filter(wanted)

    def show(self, picture: Picture) -> None:
        """Read what is published when that changed; follow the export's workers."""
        snapshot = picture.snapshot
        outs = _outs(snapshot)
        state = tuple((name, str(path)) for name, path in outs.items())
        if state != self._of and self.is_current:
            self._of = state
            self._reading = self.run_worker(lambda: self._read(outs), thread=True, exclusive=True)
        self._follow(snapshot)
        self._draw()

    @property
    def chosen(self) -> EpisodeLine | None:
        """The episode under the cursor."""
        name = self.query_one("#episodes", Table).cursor_id
        return next((one for one in self._view.episodes if one.path == name), None)

    def action_glimpse(self) -> None:
        """Show a picture and the sound of the chosen episode's first window."""
        one, dataset = self.chosen, self._view.dataset
        if one is None or dataset is None or not (one.clip or one.sound):
            self.console.say("nothing of this episode is exported yet", "warning")
            return
        self.console.say("decoding ...")
        self.run_worker(lambda: self._glimpse(one, dataset), thread=True, exclusive=True, group="glimpse")

    @on(Table.Highlighted)
    def _moved(self) -> None:
        self._tell()

    @on(Table.Selected)
    def _opened(self) -> None:
        one = self.chosen
        if one is not None:
            self.app.push_screen(ReadDialog(one.path, episode_lines(one)))

    def _read(self, outs: Mapping[str, Path]) -> None:
        self.app.call_from_thread(self._fill, read_data(outs))

    def _fill(self, view: DataView) -> None:
        self._view = view
        table = self.query_one("#episodes", Table)
        before = table.cursor_id
        table.set_rows((one.path, _values(one)) for one in self._view.episodes)
        if before:
            table.move_to(before)
        self._draw()

    def _follow(self, snapshot: RunSnapshot | None) -> None:
        row = snapshot.row("export") if snapshot else None
        path = next((Path(log) for log in row.logs if log.endswith("progress.jsonl")), None) if row else None
        if path is not None and (self._log is None or self._log.path != path):
            self._log = FoldedLog(path, Workers)
        if self._log is not None and row is not None and row.status.state.active:
            self._log.read()
        elif row is None or not row.status.state.active:
            self._log = None

    def _draw(self) -> None:
        self.query_one("#conserved", Pane).show([conservation_line(self._view)])
        glyphs = self.console.glyphs
        self.query_one("#balance", Pane).show(balance_lines(self._view.balance, self.size.width, glyphs))
        workers = self._log.fold if self._log else None
        self.query_one("#workers", Pane).show(worker_lines(workers, time.time()))
        self._tell()

    def _tell(self) -> None:
        one = self.chosen
        self.query_one("#episode", Pane).show([_summary(one)] if one else [])

    def _glimpse(self, one: EpisodeLine, dataset: Path) -> None:
        lines = glimpse_lines(glimpse(dataset, one), self.console.glyphs)
        self.app.call_from_thread(
            self.app.push_screen, ReadDialog(f"First window of {one.path}", lines, fold=False)
        )


def conservation_line(view: DataView) -> Line:
    """Selected = used + skipped + left, in one line."""
    selected, used, skipped, left = view.conservation
    if not selected:
        return [("no episode is selected yet", "text bold")]
    told = f"{selected} selected = {used} exported + {skipped} out, each with a reason + {left} left"
    return [(told, "text bold")]


def balance_lines(balance: Balance | None, width: int, glyphs: Glyphs) -> list[Line]:
    """A bar per split, and how far it is from all episodes."""
    if balance is None:
        return []
    lines: list[Line] = []
    room = max(10, min(40, width - 50))
    for split, counts in balance.splits.items():
        total = sum(counts.values()) or 1
        largest = max(counts.items(), key=lambda item: item[1], default=("-", 0))
        bits = balance.divergence.get(split, 0.0)
        over = balance.limit is not None and bits > balance.limit
        lines.append(
            [
                (f"{split:<6}", "muted"),
                (glyphs.bar(largest[1] / total, room), "primary"),
                (f" {100 * largest[1] // total:3} % {largest[0]}", "text"),
                (f"  {bits:.3f} bits from all", "error bold" if over else "muted"),
            ]
        )
    if balance.swaps:
        lines.append([(f"{balance.swaps} swaps proposed: xops data swap RUN; w signs the audit", "warning")])
    return lines


def worker_lines(workers: Workers | None, now: float) -> list[Line]:
    """Who exports what, while anybody does."""
    if workers is None or not workers.newest:
        return []
    lines: list[Line] = []
    for name, told in list(workers.newest.items())[-_WORKERS:]:
        age = now - float(told.get("timestamp") or now)
        nulls = told.get("nulls")
        missing = sum(nulls.values()) if isinstance(nulls, dict) else 0
        lines.append(
            [
                (f"worker {name}  ", "muted"),
                (f"{str(told.get('episode'))[:8]}  {told.get('step')}  ", "text"),
                (f"window {told.get('window')} of {told.get('windows')}  ", "text"),
                (f"{spoken_bytes(told.get('bytes'))}  {missing} null media  ", "muted"),
                (f"{spoken_duration(age)} ago", "warning bold" if age > 30 else "muted"),
            ]
        )
    return lines


def episode_lines(one: EpisodeLine) -> list[Line]:
    """Everything about one episode."""
    names = [name for name, letter in zip(FLAGS, one.flags, strict=False) if letter != "-"]
    lacks = [name for name, letter in zip(FLAGS, one.flags, strict=False) if letter == "-"]
    lines: list[Line] = [
        [("task      ", "muted"), (one.task or "-", "text")],
        [("split     ", "muted"), (f"{one.split}, {one.band}", "text")],
        [("frames    ", "muted"), (str(one.frames if one.frames is not None else "-"), "text")],
        [("windows   ", "muted"), (f"{one.labelled} labelled, {one.exported} exported", "text")],
        [("has       ", "muted"), (", ".join(names) or "-", "text")],
        [("lacks     ", "muted"), (", ".join(lacks) or "nothing", "text")],
    ]
    if one.reason:
        lines.append([("out       ", "muted"), (one.reason, "error bold")])
    lines += [[("finding   ", "muted"), (text, "warning")] for text in one.findings]
    lines.append([("take out  ", "muted"), (f"xops data quarantine {one.path} --why ...", "accent")])
    return lines


def glimpse(dataset: Path, one: EpisodeLine) -> dict[str, Any]:
    """What `pipeline.data.glimpse` says of an episode's first window, in a process of its own."""
    command = [sys.executable, "-P", "-m", "pipeline.data.glimpse", str(_COLUMNS), str(_ROWS)]
    for option, name in (("--clip", one.clip), ("--sound", one.sound)):
        path = (dataset / name).resolve() if name else None
        if path is not None and path.is_relative_to(dataset.resolve()):
            command += [option, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True)
        found = msgspec.json.decode(done.stdout)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return {"problem": f"it cannot be drawn: {error}"}
    return found if isinstance(found, dict) else {}


def glimpse_lines(found: Mapping[str, Any], glyphs: Glyphs) -> list[Line]:
    """The picture in shades, and the sound's outline below it."""
    lines: list[Line] = [[(_shades(row), "text")] for row in found.get("grey") or ()]
    sound: Sequence[int] = found.get("sound") or ()
    if sound:
        top = len(glyphs.levels) - 1
        text = "".join(glyphs.levels[min(top, level * (top + 1) // 256)] for level in sound)
        lines += [[], [(text, "primary")]]
        lines.append([(f"sound, loudest {max(sound) * 100 // 255} % of full scale", "muted")])
    if found.get("problem"):
        lines.append([(str(found["problem"]), "error bold")])
    return lines or [[("there is nothing to draw", "muted")]]


def _shades(row: Sequence[int]) -> str:
    return "".join(_RAMP[min(len(_RAMP) - 1, level * len(_RAMP) // 256)] for level in row)


def _values(one: EpisodeLine) -> tuple[Any, ...]:
    return (
        one.path,
        one.split or None,
        one.exported,
        (one.reason, len(one.findings)),
        one.frames,
        one.flags or None,
        one.band or None,
        one.task or None,
    )


def _summary(one: EpisodeLine) -> Line:
    told = one.reason or "; ".join(one.findings[:2]) or one.task
    return [(f"{one.path}  ", "muted"), (told, "text"), ("  enter: all of it, o: clip and sound", "muted")]


def _outs(snapshot: RunSnapshot | None) -> dict[str, Path]:
    rows = {row.stage: row for row in (snapshot.rows if snapshot else ())}
    return {
        name: Path(rows[name].status.out[0]) for name in _STAGES if name in rows and rows[name].status.out
    }

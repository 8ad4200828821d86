"""The Publish screen: what of a run goes out, file by file with its verdict, and what stays and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget

from pipeline.engine.errors import XopsError
from pipeline.engine.files import read_json
from pipeline.engine.outputs import read_outputs
from pipeline.engine.snapshot import Row
from pipeline.package.audit import AUDIT_FILE
from screens.feed import Picture, WorkspaceFeed
from screens.frame import Frame
from screens.pane import Line, Pane
from screens.terminal.glyphs import Glyphs
from screens.widgets.columns import Column, Shown
from screens.widgets.table import Table
from screens.widgets.units import spoken_bytes

#: Stages whose outputs a package is chosen from.
_SOURCES = ("manifest", "export", "train", "checkpoint_gate", "merge", "report")

#: Why files stay, by suffix; whatever is not named is not on the allow-list.
_REASONS = {
    ".mp4": "raw video",
    ".wav": "raw sound",
    ".npz": "sensor features of gated recordings",
    ".safetensors": "weights",
    ".jsonl": "rows of gated recordings, or not owed",
    ".hdf5": "raw annotation",
}


def _verdict(reasons: Sequence[str], _glyphs: Glyphs) -> Shown:
    return (("; ".join(reasons), "error bold")) if reasons else ("goes out", "success")


def _size(value: Any, _glyphs: Glyphs) -> Shown:
    return spoken_bytes(value)


COLUMNS = (
    Column("path", "Goes out", 30, grows=True),
    Column("bytes", "Size", 9, right=True, show=_size),
    Column("verdict", "Verdict", 20, show=_verdict),
    Column("redactions", "Redacted", 8, right=True, priority=1),
    Column("kind", "Content", 10, priority=2),
    Column("sha256", "sha256", 12, priority=3),
)


class PublishScreen(Frame):
    """Key 8."""

    called = "publish"
    DEFAULT_CSS = """
    PublishScreen #files { height: auto; max-height: 60vh; }
    PublishScreen #scroll { height: 1fr; background: $background; }
    """

    def body(self) -> ComposeResult:
        """The verdict, the files that go out, what stays."""
        yield Pane(id="headline", fold=True)
        yield Table(COLUMNS, id="files", empty="no package yet")
        with VerticalScroll(id="scroll", can_focus=False):
            yield Pane(id="stays", fold=True)

    def main(self) -> Widget:
        """The table of files."""
        return self.query_one("#files", Table)

    def narrow(self, word: str) -> None:
        """Only files with the word in path or verdict."""
        wanted = (lambda _, values: word in f"{values[0]} {values[2]}".lower()) if word else None
        self.query_one("#files", Table).filter(wanted)

    def show(self, picture: Picture) -> None:
        """Draw the package of the run that is shown."""
        row = picture.snapshot.row("package") if picture.snapshot else None
        audit = _audit(row)
        self.query_one("#headline", Pane).show(headline(audit, row))
        redactions = audit.get("redactions") or {}
        table = self.query_one("#files", Table)
        before = table.cursor_id
        table.set_rows((file["path"], _values(file, redactions)) for file in audit.get("files") or ())
        if before:
            table.move_to(before)
        stays = self._stays(picture)
        self.query_one("#stays", Pane).show(stays)

    def _stays(self, picture: Picture) -> list[Line]:
        if picture.snapshot is None or not isinstance(self.console.feed, WorkspaceFeed):
            return []
        run = self.console.feed.workspace.run(picture.snapshot.run_id)
        lines: list[Line] = [[("stays", "text bold")]]
        for stage in _SOURCES:
            lines += _kept(stage, run.stage(stage).outputs)
        return lines if len(lines) > 1 else []


def headline(audit: dict[str, Any], row: Row | None) -> list[Line]:
    """Whether the package may be public."""
    if not audit:
        why = row.status.reason if row else "this run makes no package"
        return [[("nothing is packaged", "text bold"), (f"  {why}", "muted")]]
    issues, files = audit.get("issues") or (), audit.get("files") or ()
    size = sum(int(file.get("bytes") or 0) for file in files)
    redacted = sum((audit.get("redactions") or {}).values())
    good = audit.get("status") == "pass"
    told = f"{len(files)} files, {spoken_bytes(size)}, {redacted} paths and hosts redacted"
    lines: list[Line] = [
        [("may be public" if good else "may NOT be public", "success bold" if good else "error bold")],
    ]
    lines[0] = [*lines[0], (f"  {told}", "text"), (f"  {audit.get('backbone', '')}", "muted")]
    return lines + [[("  " + str(issue), "error")] for issue in issues[:6]]


def _audit(row: Row | None) -> dict[str, Any]:
    if row is None or not row.status.out:
        return {}
    try:
        found = read_json(Path(row.status.out[0]) / AUDIT_FILE)
    except XopsError:
        return {}
    return found if isinstance(found, dict) else {}


def _values(file: dict[str, Any], redactions: dict[str, int]) -> tuple[Any, ...]:
    return (
        file["path"],
        file.get("bytes"),
        tuple(file.get("reasons") or ()),
        redactions.get(file["path"]),
        file.get("kind"),
        str(file.get("sha256") or "")[:12],
    )


def _kept(stage: str, outputs: Path) -> list[Line]:
    """What of a stage's outputs is of a kind that stays."""
    record = read_outputs(outputs)
    if record is None:
        return []
    files, sizes = Counter[str](), Counter[str]()
    for entry in record.out.files:
        suffix = Path(entry.path).suffix.lower()
        if suffix in _REASONS:
            files[suffix] += 1
            sizes[suffix] += entry.size
    return [
        [
            (f"  {stage:<16} ", "muted"),
            (f"{count} x *{suffix}, {spoken_bytes(sizes[suffix])}", "text"),
            (f"  {_REASONS[suffix]}", "muted"),
        ]
        for suffix, count in files.items()
    ]

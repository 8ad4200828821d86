"""An endless log in bounded memory that follows its end until the operator looks elsewhere.

How to use it:

    log = JournalLog(limit=50_000)
    log.append(["a line", ("step 3 loss nan", "error")])    # text, or text and tone
    log.filter(lambda text: "loss" in text)                 # None shows everything
    log.following                                           # False once the operator scrolled up; `f` resumes
    log.find(lambda text: "nan" in text)                    # next match below the top line; -1: above it

Lines are foreign text: they are made safe and cut to the width when they become visible, `left` and `right`
look along longer ones. Lines beyond the limit are forgotten from the top and counted in `forgotten`.
Messages: `JournalLog.FollowChanged`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from pipeline.engine.text import cell_width
from screens.widgets.lines import LineView
from screens.widgets.units import spoken_number

Filter = Callable[[str], bool]

#: Characters of a line that are kept; the rest is only counted.
LINE_LIMIT = 16_384
#: Cells that `left` and `right` move by.
STEP = 16


class LogLine(NamedTuple):
    """One line as kept: its text (cut to `LINE_LIMIT`), tone, and how many characters were cut."""

    text: str
    tone: str
    cut: int


class JournalLog(LineView):
    """A log; see the module.

    Args:
        limit: how many lines are kept.
        empty: what shows when there are none.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False),
        Binding("home,g", "top", "First", show=False),
        Binding("end,G,f", "follow", "Follow", show=False),
        Binding("left,h", "shift(-1)", "Left", show=False),
        Binding("right,l", "shift(1)", "Right", show=False),
    ]

    class FollowChanged(Message):
        """The log started or stopped to follow its end."""

        def __init__(self, log: JournalLog, following: bool) -> None:
            self.log_view, self.following = log, following
            super().__init__()

        @property
        def control(self) -> JournalLog:
            """The log, for `@on` selectors."""
            return self.log_view

    def __init__(self, *, limit: int = 50_000, empty: str = "no lines yet", **options: Any) -> None:
        super().__init__(**options)
        self._limit = max(1, limit)
        self._empty = empty
        self._lines: list[LogLine] = []
        self._matches: list[int] | None = None
        self._filter: Filter | None = None
        self._shift = 0
        self.following = True
        self.forgotten = 0

    # ---- lines ------------------------------------------------------------------------------------

    def append(self, lines: Iterable[str | tuple[str, str]]) -> None:
        """Add lines at the end; a tuple is `(text, tone)`."""
        first = len(self._lines)
        for line in lines:
            text, tone = (line, "text") if isinstance(line, str) else line
            self._lines.append(LogLine(text[:LINE_LIMIT], tone, max(0, len(text) - LINE_LIMIT)))
        if self._matches is not None and self._filter is not None:
            keep = self._filter
            self._matches += [i for i in range(first, len(self._lines)) if keep(self._lines[i].text)]
        dropped = self._forget()
        self._resized(dropped)

    def clear(self) -> None:
        """Forget every line."""
        self._lines.clear()
        self._matches = None if self._filter is None else []
        self.forgotten = 0
        self._resized(0)
        self.refresh()

    def filter(self, keep: Filter | None) -> None:
        """Show only lines for which `keep(text)` is true; None for all."""
        self._filter = keep
        self._matches = None
        if keep is not None:
            self._matches = [i for i, line in enumerate(self._lines) if keep(line.text)]
        self._resized(0)
        self.refresh()

    @property
    def shown(self) -> int:
        """How many lines pass the filter."""
        return len(self._lines) if self._matches is None else len(self._matches)

    @property
    def total(self) -> int:
        """How many lines are kept."""
        return len(self._lines)

    def text_at(self, index: int) -> str:
        """The raw text of the `index`-th shown line."""
        return self._at(index).text

    def find(self, wanted: Filter, direction: int = 1) -> bool:
        """Scroll to the next shown line for which `wanted(text)` is true; return whether there is one."""
        start = self.scroll_offset.y
        places = range(start + 1, self.shown) if direction > 0 else range(start - 1, -1, -1)
        for place in places:
            if wanted(self._at(place).text):
                self._set_following(False)
                self._jump(place)
                return True
        return False

    # ---- moving -----------------------------------------------------------------------------------

    def action_move(self, lines: int) -> None:
        """Scroll by lines; upwards stops following, the end resumes it."""
        self._look(self.scroll_offset.y + lines)

    def action_page(self, pages: int) -> None:
        """Scroll by what fits on the screen."""
        self._look(self.scroll_offset.y + pages * max(1, self.size.height - 1))

    def action_top(self) -> None:
        """Go to the first line."""
        self._look(0)

    def action_follow(self) -> None:
        """Go to the end and stay there."""
        self._set_following(True)
        self._jump(self._last_top)

    def action_shift(self, steps: int) -> None:
        """Look along lines that are longer than the screen is wide."""
        self._shift = min(max(0, self._shift + steps * STEP), LINE_LIMIT)
        self.refresh()

    def on_mouse_scroll_up(self) -> None:
        """Stop following."""
        self._set_following(False)

    def on_mouse_scroll_down(self) -> None:
        """Resume at the end."""
        if self.scroll_offset.y >= self._last_top - 3:
            self._set_following(True)

    def on_resize(self) -> None:
        """Stay at the end."""
        if self.following:
            self._jump(self._last_top)

    # ---- drawing ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the visible area."""
        width, glyphs = self.line_width, self.glyphs
        if not self.shown:
            text = self._empty if self._filter is None else f"none of {self.total} lines pass the filter"
            return self.line([(glyphs.text(text, width), "muted")] if y == 0 else [], width)
        index = y + self.scroll_offset.y
        if index >= self.shown:
            return self.line([], width)
        line = self._at(index)
        note = f" (+{spoken_number(line.cut)} more)" if line.cut else ""
        room = max(0, width - len(note))
        text = glyphs.text(line.text, room) if not self._shift else self._shifted(line.text, room)
        return self.line([(text, line.tone), (note, "muted")], width)

    def _shifted(self, text: str, room: int) -> str:
        """What shows of a line from `_shift` cells on."""
        safe, used = self.glyphs.text(text), 0
        for place, char in enumerate(safe):
            if used >= self._shift:
                return self.glyphs.text(safe[place:], room)
            used += cell_width(char)
        return ""

    # ---- keeping ----------------------------------------------------------------------------------

    def _at(self, index: int) -> LogLine:
        return self._lines[index if self._matches is None else self._matches[index]]

    def _forget(self) -> int:
        """Drop lines over the limit, a tenth at a time; return how many of them were shown."""
        if len(self._lines) <= self._limit + self._limit // 10:
            return 0
        over = len(self._lines) - self._limit
        del self._lines[:over]
        self.forgotten += over
        if self._matches is None:
            return over
        gone = sum(1 for i in self._matches if i < over)
        self._matches = [i - over for i in self._matches[gone:]]
        return gone

    @property
    def _last_top(self) -> int:
        return max(0, self.shown - self.size.height)

    def _resized(self, dropped: int) -> None:
        """Tell the scroll bar; keep the same lines on the screen, or the end."""
        top = self.scroll_offset.y
        self.virtual_size = Size(0, self.shown)
        if not self.is_mounted:
            return
        self._jump(self._last_top if self.following else max(0, top - dropped))
        self.refresh()

    def _look(self, top: int) -> None:
        top = min(max(0, top), self._last_top)
        self._set_following(top >= self._last_top)
        self._jump(top)

    def _jump(self, top: int) -> None:
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, immediate=True, force=True)

    def _set_following(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.post_message(self.FollowChanged(self, following))

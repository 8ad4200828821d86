"""What the console shows, read in a thread of its own: the event loop never waits for a disk.

A `Feed` publishes one immutable `Picture` after another; the app looks four times a second whether there is
a new one. Two kinds: a workspace of our runs, and foreign trees of logs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.engine.adopt import adopt
from pipeline.engine.digest import Digest, digest_since, last_seen
from pipeline.engine.errors import NotFoundError, XopsError
from pipeline.engine.follow import Follower
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import Registry
from pipeline.engine.runs import RunSummary, list_runs
from pipeline.engine.snapshot import RunSnapshot, needs_of, of_adopted, take_snapshot
from pipeline.engine.state import StageState
from pipeline.engine.status import read_run
from pipeline.engine.watch import open_store, summary_of

#: Seconds between looks; states are derived anew at least this often times four, for processes that die.
LOOK_S = 0.25
STATES_S = 1.0
#: Seconds between looks at the list of runs, and how long one look may take.
LIST_S = 2.0
LIST_BUDGET_S = 0.05


class RunLine(Struct, frozen=True, kw_only=True):
    """One run in the list.

    Attributes:
        run_id, recipe, kind: which one.
        created: Unix seconds, if known.
        states: of its stages in order.
        needs_human: how many of them wait for a person.
        problem: why it cannot be read; empty if it can.
    """

    run_id: str
    recipe: str = ""
    kind: str = ""
    created: float | None = None
    states: tuple[StageState, ...] = ()
    needs_human: int = 0
    problem: str = ""


class Picture(Struct, frozen=True, kw_only=True):
    """Everything the screens draw.

    Attributes:
        runs: newest first.
        snapshot: the selected run; None if there is none or it cannot be read.
        digest: what happened to it since this user last left; None if never.
        problem: why something cannot be shown; empty if all can.
        ready: False before the first look has ended.
    """

    runs: tuple[RunLine, ...] = ()
    snapshot: RunSnapshot | None = None
    digest: Digest | None = None
    problem: str = ""
    ready: bool = False


class Feed(threading.Thread):
    """Looks again and again; `picture` is the newest result.

    Args:
        run_id: the run to begin with; empty for the most interesting one.
    """

    def __init__(self, run_id: str = "") -> None:
        super().__init__(daemon=True, name="xops-feed")
        self.picture = Picture()
        self._wanted = run_id
        self._wake = threading.Event()
        self._ended = False

    @property
    def root(self) -> Path:
        """What the operator opened."""
        raise NotImplementedError

    def select(self, run_id: str) -> None:
        """Show another run; returns at once."""
        self._wanted = run_id
        self._wake.set()

    def nudge(self) -> None:
        """Look now: something was done."""
        self._wake.set()

    def stop(self) -> None:
        """End within one look."""
        self._ended = True
        self._wake.set()

    def run(self) -> None:
        """Look until stopped."""
        while not self._ended:
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                picture = self.look(now=woken)
            except XopsError as error:
                picture = self._troubled(str(error))
            except Exception as error:  # noqa: BLE001 - the thread's boundary: a defect must not freeze the screen
                picture = self._troubled(f"cannot read: {type(error).__name__}: {error}")
            if picture != self.picture:
                self.picture = picture
            self._wake.wait(LOOK_S)
        self.close()

    def look(self, *, now: bool = False) -> Picture:
        """One look; `now` asks for everything to be read again."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is followed."""

    def _troubled(self, problem: str) -> Picture:
        return msgspec.structs.replace(self.picture, problem=problem, ready=True)


class WorkspaceFeed(Feed):
    """The runs of a workspace."""

    def __init__(self, workspace: WorkspacePaths, registry: Registry, run_id: str = "") -> None:
        super().__init__(run_id)
        self.workspace, self.registry = workspace, registry
        self._since = last_seen(workspace.root)
        self._opened = time.time()
        self._digests: dict[str, Digest] = {}
        self._lines: dict[str, RunLine] = {}
        self._runs: tuple[RunLine, ...] = ()
        self._list_due = 0.0
        self._states_due = 0.0
        self._follower: Follower | None = None
        self._followed = ""

    @property
    def root(self) -> Path:
        """The workspace's directory."""
        return self.workspace.root

    def look(self, *, now: bool = False) -> Picture:
        """List runs when due, follow the logs of the selected one, read its states when due or changed."""
        moment = time.monotonic()
        if now or moment >= self._list_due:
            self._list_due = moment + LIST_S
            self._runs = self._list()
        run_id = self._wanted or _most_interesting(self._runs)
        if not run_id:
            return Picture(runs=self._runs, ready=True)
        run = self.workspace.run(run_id)
        if not run.request.exists():
            self._wanted = ""
            raise NotFoundError(f"run {run_id} is gone")
        follower, fresh = self._follow(run)
        changed = bool(follower.poll())
        if not (now or fresh or changed or moment >= self._states_due):
            return self.picture
        self._states_due = moment + STATES_S
        snapshot = take_snapshot(run, self.registry, follower.store.view)
        return Picture(runs=self._runs, snapshot=snapshot, digest=self._digest(run), ready=True)

    def close(self) -> None:
        """Write what the follower remembers."""
        if self._follower is not None:
            self._follower.close()

    def _follow(self, run: RunPaths) -> tuple[Follower, bool]:
        if self._follower is not None and self._followed == run.run_id:
            return self._follower, False
        self.close()
        self._follower, self._followed = Follower([run.root]), run.run_id
        return self._follower, True

    def _digest(self, run: RunPaths) -> Digest | None:
        """What happened before the console was opened: read once per run."""
        if self._since is None:
            return None
        if run.run_id not in self._digests:
            self._digests[run.run_id] = digest_since(
                run, read_run(run, self.registry), self._since, self._opened
            )
        return self._digests[run.run_id]

    def _list(self) -> tuple[RunLine, ...]:
        """All runs, the states of as many as fit in the time; the others keep those of the last look."""
        end = time.monotonic() + LIST_BUDGET_S
        found = {summary.run_id: summary for summary in reversed(list_runs(self.workspace))}
        self._lines = {run_id: line for run_id, line in self._lines.items() if run_id in found}
        for summary in sorted(found.values(), key=lambda s: s.run_id in self._lines):
            if time.monotonic() < end or summary.run_id not in self._lines:
                line = self._line(summary)
                self._lines.pop(summary.run_id, None)  # read last: looked at last the next time
                self._lines[summary.run_id] = line
        return tuple(self._lines[run_id] for run_id in found)

    def _line(self, summary: RunSummary) -> RunLine:
        request = summary.request
        if request is None:
            return RunLine(run_id=summary.run_id, problem=summary.problem)
        try:
            status = read_run(self.workspace.run(summary.run_id), self.registry, request=request)
        except (XopsError, OSError) as error:
            return RunLine(run_id=summary.run_id, problem=str(error))
        return RunLine(
            run_id=summary.run_id,
            recipe=request.recipe,
            kind=request.kind,
            created=request.created,
            states=tuple(stage.state for stage in status.stages),
            needs_human=sum(1 for _ in needs_of(status)),
        )


class ForeignFeed(Feed):
    """Somebody else's trees of logs; nothing in them is changed."""

    def __init__(self, roots: Sequence[Path]) -> None:
        super().__init__()
        open_store(roots)  # a path that does not exist is named before anything is drawn
        self._roots = tuple(roots)
        self._follower = Follower(roots)
        self._due = 0.0
        self._found: dict[str, RunSnapshot] = {}

    @property
    def root(self) -> Path:
        """The first of the trees."""
        return self._roots[0]

    def look(self, *, now: bool = False) -> Picture:
        """Follow the logs; put the runs together again when something changed, at most a 20th of the time."""
        changed = bool(self._follower.poll())
        began = time.monotonic()
        if changed or now or not self._found:
            self._due = min(self._due, began) if now else self._due
            if began >= self._due:
                runs = adopt(summary_of(self._follower.store))
                self._found = {snapshot.run_id: snapshot for snapshot in map(of_adopted, runs)}
                self._due = time.monotonic() + max(STATES_S, 20 * (time.monotonic() - began))
        chosen = self._found.get(self._wanted) or next(iter(self._found.values()), None)
        return Picture(runs=tuple(map(_foreign_line, self._found.values())), snapshot=chosen, ready=True)

    def close(self) -> None:
        """Write what the follower remembers."""
        self._follower.close()


def _foreign_line(snapshot: RunSnapshot) -> RunLine:
    return RunLine(
        run_id=snapshot.run_id,
        recipe="foreign logs",
        created=snapshot.created,
        states=tuple(row.status.state for row in snapshot.rows),
    )


def _most_interesting(runs: Sequence[RunLine]) -> str:
    """The newest run that works, else the newest that can be read, else the newest."""
    active = [run for run in runs if any(state.active for state in run.states)]
    readable = [run for run in runs if not run.problem]
    return next((run.run_id for run in (*active, *readable, *runs)), "")

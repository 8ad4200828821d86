"""Everything an operator can do, in one table.

Bindings, footer, palette, help and the commands that `y` copies are made from `ACTIONS`; nothing else binds
a key of its own. An act changes something and has a dialog; everything has the command that does it without
the console.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.engine.gates import Verdict
from pipeline.engine.snapshot import RunSnapshot
from pipeline.engine.state import StageState, StageStatus

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What the cursor is on.

    Attributes:
        snapshot: the run shown; None if there is none.
        stage: its selected stage; None if there is none.
        file, chunk: what the cursor of the Transfer screen is on; empty and None without one.
        episode: what the cursor of the Data screen is on; empty without one.
    """

    snapshot: RunSnapshot | None = None
    stage: StageStatus | None = None
    file: str = ""
    chunk: int | None = None
    episode: str = ""

    @property
    def run_id(self) -> str:
        """The run's id, `RUN` without one."""
        return self.snapshot.run_id if self.snapshot else "RUN"

    @property
    def name(self) -> str:
        """The stage's name, `STAGE` without one."""
        return self.stage.stage if self.stage else "STAGE"

    @property
    def verdict(self) -> Verdict | None:
        """What the stage's gate says."""
        return self.stage.verdict if self.stage else None


@dataclass(frozen=True, slots=True)
class Action:
    """One thing an operator can do.

    Attributes:
        name: what the palette calls it; `do_<name>` of the app does it (`-` as `_`).
        keys: the keys, comma separated; the first one is shown.
        label: one or two words for the footer; empty keeps it out of there.
        summary: one line for help and palette.
        twin: the command that does the same without the console; None for what only a screen can do.
        acts: whether it changes the run; such actions have a dialog and are refused in read-only mode.
        shown: how help writes the key, where its name would not do.
        screens: where the footer offers it; empty for everywhere.
    """

    name: str
    keys: str
    label: str
    summary: str
    twin: Callable[[Target], Argv] | None = None
    acts: bool = False
    shown: str = ""
    screens: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The first key as people write it."""
        return self.shown or self.keys.split(",")[0]


def _kill(target: Target) -> Argv:
    if target.stage is not None and target.stage.state is StageState.ORPHANED:
        return ("xops", "run", "reap", target.run_id, "--stage", target.name, "--yes")
    return ("xops", "run", "cancel", target.run_id, "--stage", target.name, "--force", "--yes")


def _stop(target: Target) -> Argv:
    return ("xops", "run", "cancel", target.run_id, "--stage", target.name, "--yes")


def _decide(target: Target) -> Argv:
    verb = "sign" if target.verdict is Verdict.UNSIGNED else "waive"
    owner = (target.stage.taken_from if target.stage else "") or target.run_id
    return ("xops", "gate", verb, owner, target.name, "--why", "...")


def _log(target: Target) -> Argv:
    if target.stage is None:
        return ("xops", "events", "tail", target.run_id)
    return ("xops", "stage", "log", target.run_id, target.name)


def _limit(*options: str) -> Callable[[Target], Argv]:
    return lambda target: ("xops", "relay", "limit", target.run_id, *options)


def _retry(target: Target) -> Argv:
    what = target.file or "FILE"
    return _limit("--retry", what if target.chunk is None else f"{what}:{target.chunk}")(target)


_STAGES = ("overview",)
_RELAY = ("relay", "transfer")
#: Screens with room in the footer for the way to the others.
_PLACES = ("overview", "runs", "log")

ACTIONS: tuple[Action, ...] = (
    Action("overview", "1", "Overview", "Stages of the run", lambda t: ("xops", "run", "show", t.run_id)),
    Action(
        "relay",
        "2",
        "Relay",
        "Batches on both lanes, rates, disks, what holds the relay up",
        lambda t: ("xops", "relay", "status", t.run_id),
    ),
    Action(
        "transfer",
        "3",
        "Chunks",
        "Every chunk of the selection, files, connections",
        lambda t: ("xops", "relay", "status", t.run_id, "--json"),
        screens=_RELAY,
    ),
    Action(
        "data",
        "D",
        "Data",
        "Every episode with its flags and fate, balance of the splits, export workers",
        lambda t: ("xops", "stage", "show", t.run_id, "manifest"),
        screens=("transfer",),
    ),
    Action(
        "quarantine",
        "Q",
        "Take out",
        "Take the episode out of what later stages use, with a reason",
        lambda t: ("xops", "data", "quarantine", t.episode or "EPISODE", "--why", "..."),
        acts=True,
        screens=("data",),
    ),
    Action(
        "train",
        "4",
        "Train",
        "Curves of the training, its last step, what it answers and uses",
        lambda t: ("xops", "stage", "show", t.run_id, "train"),
        screens=("eval",),
    ),
    Action(
        "eval",
        "5",
        "Eval",
        "A lane per shard, live quality beside what no look would score",
        lambda t: ("xops", "stage", "show", t.run_id, "eval"),
        screens=("train", "gates", "compare"),
    ),
    Action(
        "gates",
        "6",
        "Gates",
        "Every gate with its checks, evidence and decisions",
        lambda t: ("xops", "gate", "show", t.run_id, t.name),
        screens=("train", "eval", "publish"),
    ),
    Action(
        "compare",
        "7",
        "Compare",
        "This run beside another one: deltas with intervals, baselines, settings, flips, slices",
        lambda t: ("xops", "compare", "OTHER_RUN", t.run_id),
        screens=("eval", "publish"),
    ),
    Action(
        "publish",
        "8",
        "Publish",
        "What of the run goes out, file by file, and what stays",
        lambda t: ("xops", "package", "show", t.run_id),
        screens=("gates", "compare"),
    ),
    Action(
        "runs",
        "9",
        "Runs",
        "All runs of the workspace",
        lambda _: ("xops", "run", "ls"),
        screens=_PLACES,
    ),
    Action("log", "0,l", "Log", "Events, journal and output of the selected stage", _log, screens=_PLACES),
    Action(
        "run",
        "r",
        "Run",
        "Run or resume up to the selected stage, after showing the plan",
        lambda t: ("xops", "run", "start", t.run_id, "--until", t.name),
        acts=True,
        screens=_STAGES,
    ),
    Action(
        "run-all",
        "R",
        "",
        "Run or resume everything that is left of the run, after showing the plan",
        lambda t: ("xops", "run", "start", t.run_id),
        acts=True,
    ),
    Action(
        "stop", "s", "Stop", "Stop the stage cleanly; it saves its work", _stop, acts=True, screens=_STAGES
    ),
    Action(
        "kill", "K", "", "Kill the stage or what it left behind (asks for the run's name)", _kill, acts=True
    ),
    Action(
        "decide",
        "w",
        "Gate",
        "Waive or sign the gate of the selected stage, with a reason",
        _decide,
        acts=True,
        screens=(*_STAGES, "gates", "data"),
    ),
    Action(
        "invalidate",
        "x",
        "",
        "Move the stage's outputs aside so that it can be done again",
        lambda t: ("xops", "run", "invalidate", t.run_id, "--stage", t.name, "--yes"),
        acts=True,
    ),
    Action(
        "plan",
        "d",
        "",
        "What a start would do, stage by stage",
        lambda t: ("xops", "run", "plan", t.run_id),
    ),
    Action(
        "explain",
        "e",
        "",
        "Why the stage is as it is: reason, attempts, checks",
        lambda t: ("xops", "stage", "show", t.run_id, t.name),
        screens=_STAGES,
    ),
    Action(
        "pause-transfer",
        "p",
        "Hold",
        "Hold the transfer to the training host, or let it go on",
        _limit("--pause", "transfer"),
        acts=True,
        screens=_RELAY,
    ),
    Action(
        "pause-download",
        "P",
        "",
        "Hold the downloads from the Hub, or let them go on",
        _limit("--pause", "download"),
        acts=True,
        screens=_RELAY,
    ),
    Action(
        "limits",
        "L",
        "Limits",
        "Change connections and bandwidth of a relay that runs",
        _limit("--lanes", "N", "--bandwidth-mib", "X"),
        acts=True,
        screens=("relay",),
    ),
    Action("retry", "t", "Again", "Send the file or chunk again", _retry, acts=True, screens=("transfer",)),
    Action(
        "verify",
        "v",
        "Verify",
        "Read back every file from the training host",
        lambda t: ("xops", "relay", "verify", t.run_id),
        acts=True,
        screens=("relay",),
    ),
    Action(
        "repair",
        "V",
        "",
        "Read back every file and send again what differs",
        lambda t: ("xops", "relay", "verify", t.run_id, "--repair", "--yes"),
        acts=True,
        screens=_RELAY,
    ),
    Action("next-need", "n", "", "Next thing that needs a human"),
    Action("previous-need", "N", "", "Previous thing that needs a human"),
    Action(
        "filter",
        "slash",
        "Filter",
        "Show only what contains a word",
        shown="/",
        screens=("runs", "log", "data"),
    ),
    Action("copy", "y", "", "Copy the command that does the same without the console"),
    Action("pause", "z", "", "Hold the display still; nothing that runs notices"),
    Action("save", "S", "", "Save this screen as text and SVG"),
    Action("commands", "colon,ctrl+p", "", "Type the name of what to do", shown=":"),
    Action("help", "question_mark", "Help", "Keys of this screen with their commands", shown="?"),
    Action("interrupt", "ctrl+c", "", "Ask what to do: leave, stop the stage, nothing"),
    Action("leave", "q", "Leave (runs go on)", "Leave the console; the run continues"),
)
BY_NAME = {action.name: action for action in ACTIONS}


def footer(screen: str, *, read_only: bool = False) -> list[tuple[str, str]]:
    """`(key, label)` of what the footer of a screen offers; acts are left out of a read-only one."""
    offered = [a for a in ACTIONS if a.label and a.name != screen and screen in (a.screens or (screen,))]
    return [(a.key, a.label) for a in offered if not (a.acts and read_only)]


def command_line(argv: Argv) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(argv)

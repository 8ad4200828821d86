"""Stage `discover`: what of the selection is really staged, and whether its files are good.

Looks for every selected episode below the data roots, opens every file (QA, in several processes, each
episode once for its files), and puts what fails into quarantine. Without a selection, everything below the
roots is looked at.

Publishes `source_discovery.json` (the published keys), `episodes.json` (state and reason of every episode,
for later stages) and `qa.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from pipeline.data.qa.record import Limits
from pipeline.engine.context import StageContext
from pipeline.engine.errors import NotFoundError
from pipeline.stages.select import SELECTION_FILE

if TYPE_CHECKING:
    from pipeline.data.discover import Staged, Wanted
    from pipeline.data.qa.record import EpisodeQa
    from pipeline.hub.selection import Selection

#: What later stages read from this one's `out/`.
EPISODES_FILE = "episodes.json"
QA_FILE = "qa.json"

#: Stages that bring episodes to this host and register their `data_root`.
STAGING = ("relay", "download")


class Params(Limits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where to look and how closely; what is still good is in `pipeline.data.qa.record.Limits`.

    Attributes:
        data_roots: directories of staged episodes, the first that has an episode counts; empty takes the
            root that staging registered, else the training host's in the workspace, else `data/` there.
        selection: selection file for a run without a `select` stage; empty looks at whatever is staged.
        listing: a file listing of the Hub on disk, to say what is there of what is missing here.
        target_episodes: usable episodes wanted; 0 wants all selected ones that nobody took out.
        qa: look into the files, not only at their names and sizes.
        workers: processes; 0 takes one per core.
        quarantine: the journal; empty means `quarantine.jsonl` in the workspace, shared by its runs.
    """

    data_roots: tuple[str, ...] = ()
    selection: str = ""
    listing: str = ""
    target_episodes: Annotated[int, Meta(ge=0)] = 0
    qa: bool = True
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    quarantine: str = ""


def run(context: StageContext) -> None:
    """Find, look, quarantine, publish, and ask the gate's questions."""
    from pipeline.data.discover import discovery_checks, find_episode, find_others, skipped
    from pipeline.data.qa.quarantine import overruled, quarantined
    from pipeline.data.qa.run import qa_checks, qa_summary
    from pipeline.engine.files import publish_json

    roots = data_roots(context)
    selection = read_selected(context, context.params.selection)
    wanted = _wanted(selection, roots)
    staged = [find_episode(entry, roots) for entry in wanted]
    unselected = find_others(roots, [entry.path for entry in wanted])
    context.emit("staged_found", episodes=len(staged), unselected=len(unselected), roots=[*map(str, roots)])
    results = _look(context, staged) if context.params.qa else []
    acts, identities = _quarantine(context, results), {result.episode: result.identity for result in results}
    trusted = set(overruled(acts, identities))
    staged = _judged(staged, results, trusted)
    inside = quarantined(acts, identities)
    out = skipped(staged, {path: act.reason for path, act in inside.items()})
    _publish_discovery(context, staged, unselected, roots)
    publish_json(
        context.out / EPISODES_FILE,
        {
            "data_roots": [str(root) for root in roots],
            "episodes": msgspec.to_builtins(staged),
            "skipped": out,
            "quarantine": msgspec.to_builtins(inside),
            "unselected": unselected,
        },
    )
    publish_json(context.out / QA_FILE, msgspec.to_builtins(results))
    by_people = sum(act.who != "qa" for path, act in inside.items() if path in out)
    checks = discovery_checks(
        staged,
        target=context.params.target_episodes or max(1, len(staged) - by_people),
        quarantine={path: act.reason for path, act in inside.items()},
    )
    if results:
        checks += qa_checks([result for result in results if result.episode not in trusted])
    for check in checks:
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)
    context.emit("discovered", selected=len(staged), left_out=len(out), qa=qa_summary(results))


def data_roots(context: StageContext) -> list[Path]:
    """Directories of staged episodes, in the order they are searched.

    Raises:
        NotFoundError: one that was named does not exist.
    """
    from pipeline.engine.outputs import read_outputs

    named = list(context.params.data_roots)
    for stage in STAGING:
        for out in () if named else context.upstreams.get(stage, ()):
            record = read_outputs(out.parent / "outputs.json")
            named += [a.root for a in record.artefacts if a.role == "data_root"] if record else []
    if not named:
        hosts = context.config.hosts.values()
        named = [host.data_root for host in hosts if host.role == "training" and host.data_root][:1]
    roots = [Path(name).expanduser() for name in named] or [context.workspace.root / "data"]
    for root in roots:
        if not root.is_dir():
            raise NotFoundError(f"data root {root} is no directory", hint="set discover.data_roots")
    return roots


def read_selected(context: StageContext, named: str) -> Selection | None:
    """The selection of the run's `select` stage, else the file `named`, else None."""
    from pipeline.hub.selection import read_selection

    if "select" in context.upstreams:
        return read_selection(context.upstream("select") / SELECTION_FILE)
    return read_selection(Path(named).expanduser()) if named else None


def _wanted(selection: Selection | None, roots: Sequence[Path]) -> list[Wanted]:
    from pipeline.data.discover import Wanted, find_others

    if selection is None:
        return [Wanted(path=path, split="") for path in find_others(roots, ())]
    return [
        Wanted(
            path=episode.path,
            split=episode.split,
            sizes={file.path.rpartition("/")[2]: file.size for file in episode.files}
            or {"annotation.hdf5": episode.annotation_bytes},
        )
        for episode in selection.episodes
    ]


def _look(context: StageContext, staged: Sequence[Staged]) -> list[EpisodeQa]:
    from pipeline.data.qa.episode import QaTask
    from pipeline.data.qa.run import run_qa

    limits = Limits(**{name: getattr(context.params, name) for name in Limits.__struct_fields__})
    tasks = [QaTask(entry.path, entry.folder, limits) for entry in staged if entry.folder]
    return run_qa(
        tasks,
        context.work / "qa",
        emit=context.emit,
        workers=context.params.workers,
        check_cancelled=context.check_cancelled,
    )


def _quarantine(context: StageContext, results: Sequence[EpisodeQa]) -> list[Any]:
    """Put what failed into quarantine; returns every act of the journal."""
    from pipeline.data.qa.quarantine import FILE, read_quarantine, record_failures

    journal = Path(context.params.quarantine or context.workspace.root / FILE).expanduser()
    for act in record_failures(journal, results):
        context.emit("quarantined", episode=act.episode, reason=act.reason, who=act.who)
    return read_quarantine(journal)


def _judged(staged: Sequence[Staged], results: Sequence[EpisodeQa], overruled: set[str]) -> list[Staged]:
    from pipeline.data.discover import with_qa

    found = {result.episode: result for result in results if result.episode not in overruled}
    return [with_qa(entry, found[entry.path]) if entry.path in found else entry for entry in staged]


def _publish_discovery(
    context: StageContext, staged: Sequence[Staged], unselected: Sequence[str], roots: Sequence[Path]
) -> None:
    from pipeline.data.discover import source_discovery
    from pipeline.engine.files import publish_json
    from pipeline.hub.listing import read_listing

    named = context.params.listing
    listing = read_listing(Path(named).expanduser()) if named else None
    answer = source_discovery(
        staged,
        target=context.params.target_episodes or len(staged),
        workspace=str(context.workspace.root),
        data_root=str(roots[0]),
        unselected=unselected,
        hub_files=[file.path for file in listing.files] if listing else (),
        hub_repo=listing.repo_id if listing else "",
    )
    publish_json(context.out / "source_discovery.json", answer)

"""Stage `select`: the episodes of the run, pinned to a commit, with the size and hash of every file.

Either a selection file is taken as it is (and completed with sizes and hashes where it has none), or
episodes are chosen from a file listing: a local one, or the Hub's.

Publishes `selection.json`, `selection.csv`, `download_files.txt` and `checksums.sha256`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.engine.context import StageContext
from pipeline.engine.errors import NoPermissionError, UnreachableError
from pipeline.hub.pool import SelectRules

if TYPE_CHECKING:
    from pipeline.hub.listing import Listing
    from pipeline.hub.pool import Pool
    from pipeline.hub.selection import Selection

#: What later stages read from this one's `out/`.
SELECTION_FILE = "selection.json"


class Params(SelectRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rules of `pipeline.hub.pool.SelectRules`, and where the listing comes from.

    Attributes:
        selection: an existing selection file, taken as it is; the rules are then not used.
        listing: a file listing on disk, for work without a network; empty asks the Hub.
        revision: commit or branch; empty takes the workspace's, else the newest commit, which is recorded.
    """

    selection: str = ""
    listing: str = ""
    revision: str = ""


def run(context: StageContext) -> None:
    """Take or make the selection, publish it, and ask the gate's questions."""
    from pipeline.hub import selection as files
    from pipeline.hub.gates import selection_checks

    pool = None
    if context.params.selection:
        chosen = _taken(context)
    else:
        chosen, pool = _chosen(context)
    context.check_cancelled()
    files.write_selection(context.out / SELECTION_FILE, chosen)
    files.write_csv(context.out / "selection.csv", chosen)
    files.write_download_list(context.out / "download_files.txt", chosen)
    files.write_checksums(context.out / "checksums.sha256", chosen)
    for check in selection_checks(chosen, pool):
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)
    context.emit(
        "selected",
        episodes=len(chosen.episodes),
        files=len(chosen.download_files),
        bytes=chosen.size,
        revision=chosen.commit,
        split_hash=chosen.split_hash(),
        splits=chosen.selected_summary.get("split_counts", {}),
    )


def _taken(context: StageContext) -> Selection:
    """The selection file named, with sizes and hashes where they can be had."""
    from pipeline.hub.listing import fetch_files, read_listing
    from pipeline.hub.selection import complete, read_selection

    chosen = read_selection(Path(context.params.selection).expanduser())
    if chosen.hashed:
        return chosen
    try:
        if context.params.listing:
            listing = read_listing(Path(context.params.listing).expanduser())
        else:
            endpoint = context.config.dataset.endpoint
            listing = fetch_files(chosen.repo_id, chosen.commit, chosen.download_files, endpoint=endpoint)
    except (NoPermissionError, UnreachableError) as error:
        # Planning works without hashes; the gate says that moving bytes does not.
        context.emit("listing_unavailable", detail=str(error), fix=error.hint)
        return chosen
    return complete(chosen, listing)


def _chosen(context: StageContext) -> tuple[Selection, Pool]:
    from pipeline.hub.choose import choose
    from pipeline.hub.pool import make_pool

    listing = _listing(context)
    context.emit(
        "listed",
        repo_id=listing.repo_id,
        revision=listing.revision,
        files=len(listing.files),
        refused=len(listing.refused),
    )
    for refused in listing.refused[:100]:
        context.emit("name_refused", path=refused.path, reason=refused.reason)
    context.check_cancelled()
    pool = make_pool(listing, context.params)
    return choose(pool), pool


def _listing(context: StageContext) -> Listing:
    from pipeline.hub.listing import cached_listing, read_listing

    if context.params.listing:
        return read_listing(Path(context.params.listing).expanduser())
    dataset = context.config.dataset
    return cached_listing(
        context.work / "listing.json",
        dataset.repo_id,
        revision=context.params.revision or dataset.revision,
        endpoint=dataset.endpoint,
    )

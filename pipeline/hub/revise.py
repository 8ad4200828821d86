"""Asking about and changing one episode of a selection, with split, band and sessions kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from pipeline.engine.errors import StageFailedError
from pipeline.hub.choose import selected, summarise
from pipeline.hub.pool import Candidate, Pool
from pipeline.hub.selection import Replacement, Selection


class Explanation(Struct, frozen=True):
    """Why an episode is in a selection, or why it is not.

    Attributes:
        episode: `<session>/ep<N>`.
        verdict: the one fact that decided.
        reason: the same in a sentence, with the figures.
        band, split, rank, score: of a selected episode; band and score of a candidate as well.
    """

    episode: str
    verdict: Literal["selected", "session_taken", "outscored", "too_small", "incomplete", "unknown"]
    reason: str
    band: str | None = None
    split: str | None = None
    rank: int | None = None
    score: float | None = None


def explain(selection: Selection, episode: str, pool: Pool | None = None) -> Explanation:
    """Why `episode` is selected or not; for one that is not, `pool` is needed to know more than that."""
    for chosen in selection.episodes:
        if chosen.path == episode:
            reason = (
                f"rank {chosen.rank}: {chosen.split}, band {chosen.band}, score {chosen.score:.8f}; the "
                f"only episode of its session; {chosen.annotation_human} + videos = {chosen.training_human}"
            )
            return Explanation(
                episode, "selected", reason, chosen.band, chosen.split, chosen.rank, chosen.score
            )
    if pool is None:
        return Explanation(episode, "unknown", "not selected; a file listing is needed to say why")
    if episode in pool.incomplete:
        return Explanation(episode, "incomplete", f"lacks {', '.join(pool.incomplete[episode])}")
    if episode in pool.rejected:
        floor = f"annotation >= {pool.annotation_floor} B and training >= {pool.training_floor} B are asked"
        return Explanation(episode, "too_small", f"{pool.rejected[episode]}: {floor}")
    for candidate in pool.candidates:
        if candidate.episode.path == episode:
            return _passed_over(selection, candidate)
    return Explanation(episode, "unknown", "the listing has no such episode")


def _passed_over(selection: Selection, candidate: Candidate) -> Explanation:
    session = candidate.episode.session
    for chosen in selection.episodes:
        if chosen.session == session:
            reason = f"its session already gives {chosen.path} (rank {chosen.rank}); one episode per session"
            return Explanation(
                candidate.episode.path, "session_taken", reason, candidate.band, score=candidate.score
            )
    worst = max((c.score for c in selection.episodes if c.band == candidate.band), default=0.0)
    reason = f"score {candidate.score:.8f}; the last one taken in band {candidate.band} has {worst:.8f}"
    return Explanation(candidate.episode.path, "outscored", reason, candidate.band, score=candidate.score)


def replace(selection: Selection, episode: str, pool: Pool, *, reason: str) -> Selection:
    """A new version of `selection` with the next best candidate in place of `episode`.

    The newcomer is of the same band and of a session nobody else uses, and takes over split and rank, so
    every other episode keeps its batch. Episodes that were removed before do not come back.

    Raises:
        NotFoundError: `episode` is not selected.
        StageFailedError: the pool has no candidate left for that band, or is of another commit.
    """
    old = selection.episode(episode)
    if pool.listing.revision != selection.commit:
        raise StageFailedError(
            f"the listing is of {pool.listing.revision[:12]}, the selection of {selection.commit[:12]}",
            hint=f"list the selection's own revision: xops relay listing --revision {selection.commit}",
        )
    taken = {chosen.session for chosen in selection.episodes if chosen.path != episode}
    gone = {change.removed for change in selection.replacements} | {episode}
    for candidate in pool.candidates:
        found = candidate.episode
        if candidate.band == old.band and found.session not in taken and found.path not in gone:
            break
    else:
        raise StageFailedError(
            f"no candidate of band {old.band} is left to replace {episode}",
            hint="relax the size filters, or take the episode out of the run",
        )
    new = selected(candidate, old.split, old.rank)
    episodes = tuple(new if chosen is old else chosen for chosen in selection.episodes)
    change = Replacement(
        version=selection.version + 1,
        removed=episode,
        added=new.path,
        reason=reason,
        at_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return msgspec.structs.replace(
        selection,
        episodes=episodes,
        download_files=tuple(path for chosen in episodes for path in chosen.download_files),
        selected_summary=summarise(episodes, pool.rules.windows_per_episode),
        version=change.version,
        replacements=(*selection.replacements, change),
    )

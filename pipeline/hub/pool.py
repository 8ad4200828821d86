"""What a file listing offers: its episodes filtered, banded and scored, best first.

The score measures how ordinary an episode's sizes are:

    |annotation - band median| / band median + 0.25 * |training - median| / median
        + 0.02 * min(number, 64) / 64 + 0.001 * h

with the medians over the candidates and h in [0, 1) from sha256("<seed>:<path>"). All 128 published scores
come out of this formula to their eight printed decimals.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from pipeline.engine.errors import StageFailedError
from pipeline.hub import names
from pipeline.hub.listing import Listing
from pipeline.hub.selection import BANDS, Band
from pipeline.hub.types import RemoteFile
from pipeline.hub.units import GIB, human

Fraction = Annotated[float, Meta(ge=0, lt=1)]


class SelectRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is selected; the defaults are the published selection's.

    Attributes:
        target_episodes: how many, each from a session of its own.
        seed: of the score's tie-break; the split uses `seed + 101`.
        train_fraction, val_fraction, test_fraction: shares of the target; they add up to 1.
        drop_bottom_annotation_percentile: share of the complete episodes with the smallest annotations.
        drop_bottom_training_percentile: the same for all training bytes.
        min_annotation_gib: annotations below this are dropped in any case.
        windows_per_episode: used only to estimate the number of windows.
    """

    target_episodes: Annotated[int, Meta(ge=1)] = 128
    seed: int = 7
    train_fraction: Fraction = 0.75
    val_fraction: Fraction = 0.125
    test_fraction: Fraction = 0.125
    drop_bottom_annotation_percentile: Fraction = 0.05
    drop_bottom_training_percentile: Fraction = 0.05
    min_annotation_gib: Annotated[float, Meta(ge=0)] = 0.5
    windows_per_episode: Annotated[int, Meta(ge=1)] = 256

    def __post_init__(self) -> None:
        if abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError("train_fraction + val_fraction + test_fraction must be 1")

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares in the order of `SPLITS`."""
        return self.train_fraction, self.val_fraction, self.test_fraction


class Episode(Struct, frozen=True):
    """One complete episode of the listing; sizes in bytes."""

    path: str
    session: str
    number: int
    files: tuple[RemoteFile, ...]
    has_viewer_file: bool = False
    extra_files: int = 0
    extra_bytes: int = 0

    @property
    def annotation_bytes(self) -> int:
        """Size of `annotation.hdf5`."""
        return self.files[0].size

    @property
    def training_bytes(self) -> int:
        """Annotation and the six videos."""
        return sum(file.size for file in self.files)


class Candidate(Struct, frozen=True):
    """An episode that passed the filters, with its band and score."""

    episode: Episode
    band: Band
    score: float

    @property
    def order(self) -> tuple[float, str]:
        """Best first."""
        return self.score, self.episode.path


class Pool(Struct, frozen=True):
    """What a listing offers under given rules.

    Attributes:
        rules: the rules.
        listing: repository and commit the episodes are from.
        complete: number of complete episodes.
        incomplete: episode -> names of the files it lacks.
        rejected: episode -> `annotation_too_small` or `training_too_small`.
        candidates: the others, best first.
        annotation_floor, training_floor: thresholds that the filters came to, bytes.
        annotation_summary, training_summary: size statistics of the complete episodes.
    """

    rules: SelectRules
    listing: Listing
    complete: int
    incomplete: Mapping[str, tuple[str, ...]]
    rejected: Mapping[str, str]
    candidates: tuple[Candidate, ...]
    annotation_floor: int
    training_floor: int
    annotation_summary: dict[str, Any]
    training_summary: dict[str, Any]


def percentile(values: Sequence[int], share: float) -> int:
    """Percentile of sorted `values` with linear interpolation, rounded to a whole number of bytes."""
    at = share * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return round(values[low] + (values[high] - values[low]) * (at - low))


def size_summary(sizes: Iterable[int]) -> dict[str, Any]:
    """Count, percentiles and mean of `sizes`, in bytes and for reading, with the published keys."""
    ordered = sorted(sizes)
    figures = {"min": ordered[0]}
    figures |= {f"p{share:02d}": percentile(ordered, share / 100) for share in (5, 25)}
    figures |= {"median": percentile(ordered, 0.5)}
    figures |= {f"p{share:02d}": percentile(ordered, share / 100) for share in (75, 95)}
    figures |= {"max": ordered[-1], "mean": round(sum(ordered) / len(ordered))}
    in_bytes = {f"{name}_bytes": value for name, value in figures.items()}
    return {"count": len(ordered), **in_bytes, **{f"{k}_human": human(v) for k, v in figures.items()}}


def group(listing: Listing) -> tuple[list[Episode], dict[str, tuple[str, ...]]]:
    """The complete episodes of a listing, by path, and what each incomplete one lacks."""
    folders: dict[str, dict[str, RemoteFile]] = defaultdict(dict)
    for file in listing.files:
        parsed = names.parse(file.path)
        if parsed:
            folders[parsed.text][parsed.name] = file
    complete: list[Episode] = []
    incomplete: dict[str, tuple[str, ...]] = {}
    for path, files in sorted(folders.items()):
        missing = tuple(name for name in names.EPISODE_FILES if name not in files)
        if missing:
            incomplete[path] = missing
        else:
            complete.append(_episode(path, files))
    return complete, incomplete


def _episode(path: str, files: Mapping[str, RemoteFile]) -> Episode:
    session, _, leaf = path.partition("/")
    extra = [file for name, file in files.items() if name not in names.EPISODE_FILES]
    return Episode(
        path=path,
        session=session,
        number=int(leaf.removeprefix("ep")),
        files=tuple(files[name] for name in names.EPISODE_FILES),
        has_viewer_file=names.EXCLUDED_FILE in files,
        extra_files=len(extra),
        extra_bytes=sum(file.size for file in extra),
    )


def make_pool(listing: Listing, rules: SelectRules) -> Pool:
    """Filter, band and score every episode of `listing`.

    Raises:
        StageFailedError: the listing holds no complete episode.
    """
    complete, incomplete = group(listing)
    if not complete:
        raise StageFailedError(
            f"the listing of {listing.repo_id} at {listing.revision[:12]} has no complete episode",
            hint="look at the listing, or name another repository or revision",
        )
    annotations = size_summary(episode.annotation_bytes for episode in complete)
    trainings = size_summary(episode.training_bytes for episode in complete)
    ordered = sorted(episode.annotation_bytes for episode in complete)
    bottom = percentile(ordered, rules.drop_bottom_annotation_percentile)
    annotation_floor = max(round(rules.min_annotation_gib * GIB), bottom)
    totals = sorted(episode.training_bytes for episode in complete)
    training_floor = percentile(totals, rules.drop_bottom_training_percentile)
    rejected: dict[str, str] = {}
    for episode in complete:
        if episode.annotation_bytes < annotation_floor:
            rejected[episode.path] = "annotation_too_small"
        elif episode.training_bytes < training_floor:
            rejected[episode.path] = "training_too_small"
    kept = [episode for episode in complete if episode.path not in rejected]
    quartiles = tuple(percentile(ordered, share) for share in (0.25, 0.5, 0.75))
    return Pool(
        rules=rules,
        listing=listing,
        complete=len(complete),
        incomplete=incomplete,
        rejected=rejected,
        candidates=tuple(score(kept, quartiles, rules.seed)),
        annotation_floor=annotation_floor,
        training_floor=training_floor,
        annotation_summary=annotations,
        training_summary=trainings,
    )


def band_of(annotation_bytes: int, quartiles: Sequence[int]) -> Band:
    """The size band: a value on a quartile belongs to the band below it."""
    for band, upper in zip(BANDS, quartiles, strict=False):
        if annotation_bytes <= upper:
            return band
    return BANDS[-1]


def score(episodes: Iterable[Episode], quartiles: Sequence[int], seed: int) -> list[Candidate]:
    """Every episode with its band and score, best first."""
    banded = [(episode, band_of(episode.annotation_bytes, quartiles)) for episode in episodes]
    if not banded:
        return []
    medians = {
        band: percentile(sorted(e.annotation_bytes for e, b in banded if b == band), 0.5)
        for band in {band for _, band in banded}
    }
    training_median = percentile(sorted(episode.training_bytes for episode, _ in banded), 0.5)
    scored = (
        Candidate(
            episode,
            band,
            episode_score(
                episode.path,
                annotation=episode.annotation_bytes / medians[band],
                training=episode.training_bytes / training_median,
                number=episode.number,
                seed=seed,
            ),
        )
        for episode, band in banded
    )
    return sorted(scored, key=lambda candidate: candidate.order)


def episode_score(path: str, *, annotation: float, training: float, number: int, seed: int) -> float:
    """The score of the module's docstring; sizes come as multiples of their medians."""
    tie = int(hashlib.sha256(f"{seed}:{path}".encode()).hexdigest()[:8], 16) / 16**8
    late = 0.02 * min(number, 64) / 64
    return round(abs(annotation - 1) + 0.25 * abs(training - 1) + late + 0.001 * tie, 8)

"""The gate of an export: what is in the dataset is what was asked for, and nothing is lost or leaked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.data.export.dataset import DATASET_FILE, Dataset
from pipeline.data.export.record import made_file
from pipeline.data.leakage import LeakFinder
from pipeline.data.video import probe_video
from pipeline.data.windows import UNKNOWN
from pipeline.engine.gates import Check

#: Most names listed as evidence; counts are always complete.
SHOWN = 20


def export_checks(
    dataset: Dataset,
    out: Path,
    *,
    listed: int,
    failed: Sequence[str] = (),
    max_null_share: float = 0.02,
    max_skipped_share: float = 0.1,
) -> list[Check]:
    """All checks of a dataset that was written into `out`.

    Args:
        dataset: as `assemble` returned it.
        out: where it was written.
        listed: episodes of the manifest that were to be exported.
        failed: ids of episodes whose worker died.
        max_null_share: share of rows that may lack a clip, and of those that may lack sound.
        max_skipped_share: share of episodes that may have no row.
    """
    return [
        _conserved(dataset, out, listed),
        _skipped(dataset, listed, max_skipped_share),
        _plain("no_worker_failed", "episodes whose worker died or was too slow", failed),
        _nulls(dataset, max_null_share),
        _plain("media_exist_and_hash", "missing or changed files", _damaged(dataset, out)),
        _plain("frames_as_declared", "clips with another number of pictures", _miscounted(dataset, out)),
        _plain("no_test_label_in_options", "options that train never has", _foreign_options(dataset)),
        *_leaks(dataset),
    ]


def _plain(name: str, what: str, wrong: Sequence[str]) -> Check:
    return Check(name=name, ok=not wrong, detail=f"{len(wrong)} {what}", evidence={"shown": [*wrong[:SHOWN]]})


def _conserved(dataset: Dataset, out: Path, listed: int) -> Check:
    """Rows in the file = rows of the episodes; episodes listed = exported + skipped, none twice."""
    with (out / DATASET_FILE).open("rb") as file:
        written = sum(1 for _ in file)
    rows = sum(len(record.rows) for record in dataset.records)
    exported = sum(1 for record in dataset.records if record.rows)
    skipped = len(dataset.manifest["skipped_episodes"])
    distinct = len({draft.id for draft in dataset.drafts})
    return Check(
        name="rows_conserved",
        ok=written == rows == distinct and rows > 0 and listed == exported + skipped,
        detail=f"{written} rows of {rows}, {distinct} ids; "
        f"{listed} episodes = {exported} exported + {skipped} skipped",
        evidence={"rows": written, "episodes": listed, "exported": exported, "skipped": skipped},
    )


def _skipped(dataset: Dataset, listed: int, most: float) -> Check:
    skipped = dataset.manifest["skipped_episodes"]
    return Check(
        name="few_episodes_skipped",
        ok=len(skipped) <= most * listed,
        detail=f"{len(skipped)} of {listed} episodes have no row (at most {most:.0%})",
        evidence={"skipped": skipped[:SHOWN]},
    )


def _nulls(dataset: Dataset, most: float) -> Check:
    nulls, rows = dataset.manifest["null_media"], len(dataset.drafts)
    return Check(
        name="few_null_media",
        ok=all(count <= most * rows for count in nulls.values()),
        detail=", ".join(f"{count} of {rows} rows without {kind}" for kind, count in nulls.items())
        + f" (at most {most:.0%})",
        evidence={"null_media": nulls},
    )


def _damaged(dataset: Dataset, out: Path) -> list[str]:
    """Files of rows that are not recorded, not there, or not what was recorded."""
    recorded = {file.path: file for record in dataset.records for file in record.files}
    wrong = []
    for draft in dataset.drafts:
        paths = (draft.media.mosaic_video_path, draft.media.audio_path, draft.sensor_feature_path)
        wrong += [path for path in paths if path and path not in recorded]
    for path, file in recorded.items():
        if not (out / path).is_file() or made_file(out, out / path) != file:
            wrong.append(path)
    return wrong


def _miscounted(dataset: Dataset, out: Path) -> list[str]:
    wrong = []
    for draft in dataset.drafts:
        path = draft.media.mosaic_video_path
        if path:
            _, info = probe_video(out / path)
            if info is None or not info.readable_frames == info.frames == draft.media.mosaic_frames:
                wrong.append(path)
    return wrong


def _foreign_options(dataset: Dataset) -> list[str]:
    trained = {
        label
        for draft in dataset.drafts
        if draft.split == "train"
        for label in (draft.answer_json.action, draft.answer_json.next_action, draft.answer_json.subtask)
    }
    return sorted({*dataset.actions, *dataset.subtasks} - (trained - {UNKNOWN}))


def _leaks(dataset: Dataset) -> list[Check]:
    """Episodes, sessions and files, the latter by content too, belong to one split each."""
    finder = LeakFinder()
    for record in dataset.records:
        if record.rows:
            clips = [file for file in record.files if file.path.endswith(".mp4")]
            finder.add(
                record.episode_id,
                record.split,
                files=[file.path for file in record.files],
                contents=[file.sha256 for file in clips],
            )
    return finder.checks()

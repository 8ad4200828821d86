"""Converting an exported dataset into the neutral window index, one slice of rows at a time.

A row that cannot be converted is left out, counted and named with its reason in the manifest; records and
skipped rows add up to the rows of the source.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.data.index.convert import Converter
from pipeline.data.index.record import INDEX_FILE, MANIFEST_FILE, PATH_ROOTS, SCHEMA, VOCABULARY_FILE
from pipeline.data.index.roots import Roots
from pipeline.data.index.views import ADAPTER_CONTRACTS
from pipeline.data.index.vocabulary import LabelLists, Vocabulary, read_vocabulary
from pipeline.data.leakage import LeakFinder
from pipeline.engine.errors import NotFoundError
from pipeline.engine.files import publish_json, read_json, sync_directory
from pipeline.engine.log import Emit

#: Bytes of the source converted between two progress events.
CHUNK_BYTES = 8 << 20


class IndexResult(Struct, frozen=True, kw_only=True):
    """What `build_index` made.

    Attributes:
        manifest: content of the manifest, as written.
        num_rows, num_records, num_skipped: the conservation line.
        leaks: what the records use, for the leakage gate.
        unseen_options: by kind, label options that no record of the train split has.
    """

    manifest: dict[str, Any]
    num_rows: int
    num_records: int
    num_skipped: int
    leaks: LeakFinder
    unseen_options: dict[str, tuple[str, ...]]


def build_index(
    dataset: Path,
    out: Path,
    *,
    run_id: str = "xperience10m_window_index",
    dataset_manifest: Path | None = None,
    data_root: str = "",
    dataset_root: str = "",
    inline_options: bool = False,
    emit: Emit | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> IndexResult:
    """Write `window_index.jsonl`, `label_vocabulary.json` and `window_index_manifest.json` into `out`.

    Args:
        dataset: the exporter's `dataset.jsonl`.
        out: directory of the three files; they appear whole, the manifest last.
        run_id: what the manifest calls the index.
        dataset_manifest: of the dataset; by default the one beside it, if there is one.
        data_root: what the rows' absolute camera paths begin with; empty to find out.
        dataset_root: what their absolute paths of renderings and features begin with; empty to find out.
        inline_options: keep label lists in the records instead of references.
        emit: told `index_progress` (done, total in bytes of the source, records).
        check_cancelled: called now and then; whatever it raises ends the work, and nothing is published.

    Raises:
        NotFoundError: there is no dataset.
        DamagedFileError: the dataset's manifest or vocabulary is damaged.
    """
    if dataset_manifest is None and (dataset.parent / "dataset_manifest.json").is_file():
        dataset_manifest = dataset.parent / "dataset_manifest.json"
    summary = read_json(dataset_manifest) if dataset_manifest else {}
    vocabulary = Vocabulary(_source_lists(dataset), inline=inline_options)
    roots = Roots(data_root, dataset_root)
    converter = Converter(roots, vocabulary)
    digests = _stream(dataset, out, converter, emit, check_cancelled)
    manifest = {
        "schema": SCHEMA,
        "run_id": run_id,
        "source_dataset_jsonl": str(dataset),
        "source_dataset_manifest": str(dataset_manifest) if dataset_manifest else None,
        "output_jsonl": INDEX_FILE,
        **converter.counts(),
        "roots": {"data": roots.data, "dataset": roots.dataset or str(dataset.absolute().parent)},
        "path_roots": PATH_ROOTS,
        "sha256": {**digests, VOCABULARY_FILE: vocabulary.publish(out / VOCABULARY_FILE)},
        "adapter_contracts": ADAPTER_CONTRACTS,
        "source_dataset_summary": summary,
    }
    publish_json(out / MANIFEST_FILE, manifest)
    return IndexResult(
        manifest=manifest,
        num_rows=converter.rows,
        num_records=converter.records,
        num_skipped=converter.rows - converter.records,
        leaks=converter.leaks,
        unseen_options=converter.unseen_options(),
    )


def _source_lists(dataset: Path) -> LabelLists | None:
    beside = dataset.parent / VOCABULARY_FILE
    return read_vocabulary(beside) if beside.is_file() else None


def _stream(
    dataset: Path, out: Path, converter: Converter, emit: Emit | None, check_cancelled: Callable[[], None]
) -> dict[str, str]:
    """Convert all rows; returns the sha256 of the source and of the index."""
    try:
        source = dataset.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{dataset} does not exist", hint="xops run start --until export") from None
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f".{INDEX_FILE}.{os.getpid()}.tmp"
    total = dataset.stat().st_size
    with source, _removed_on_error(temporary), temporary.open("wb") as target:
        read, written, done = hashlib.sha256(), hashlib.sha256(), 0
        while lines := source.readlines(CHUNK_BYTES):
            check_cancelled()
            encoded = b"".join(converter.convert(lines))
            for line in lines:
                read.update(line)
                done += len(line)
            written.update(encoded)
            target.write(encoded)
            if emit:
                emit("index_progress", done=done, total=total, unit="bytes", records=converter.records)
        target.flush()
        os.fsync(target.fileno())
        temporary.replace(out / INDEX_FILE)
    sync_directory(out)
    return {"source_dataset_jsonl": read.hexdigest(), INDEX_FILE: written.hexdigest()}


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    """Delete `path` if the block fails."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise

"""The file listing of the dataset at one commit: sizes and LFS hashes, cached as a JSON file.

A listing is read from the Hub once, with huggingface_hub, and kept; selection, batches and gates work on
the file and need no network. Names that could do harm are not in `files` but in `refused`, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from pipeline.engine.errors import DamagedFileError, NotFoundError
from pipeline.engine.files import publish_bytes
from pipeline.hub import names
from pipeline.hub.errors import hub_errors
from pipeline.hub.types import RemoteFile

#: Paths asked about in one request; the Hub refuses much longer lists.
PATHS_PER_REQUEST = 200


class Refused(Struct, frozen=True):
    """A listed name that is not used.

    Attributes:
        path: the name; control characters are escaped.
        reason: why it is refused.
    """

    path: str
    reason: str


class Listing(Struct, frozen=True, kw_only=True):
    """All files of a dataset repository at one commit.

    Attributes:
        kind: marks the file type.
        repo_id: `namespace/name`.
        revision: full commit hash.
        fetched_at_utc: ISO 8601 time of the listing.
        files: safe, unique paths, sorted.
        refused: the others.
    """

    kind: Literal["xops_hub_listing"] = "xops_hub_listing"
    repo_id: str
    revision: str
    fetched_at_utc: str = ""
    files: tuple[RemoteFile, ...]
    refused: tuple[Refused, ...] = ()

    def by_path(self) -> dict[str, RemoteFile]:
        """The files by their path."""
        return {file.path: file for file in self.files}


def make_listing(repo_id: str, revision: str, files: Iterable[RemoteFile]) -> Listing:
    """Sort `files` and refuse names that are unsafe or listed more than once."""
    offered = list(files)
    times = Counter(file.path for file in offered)
    kept: list[RemoteFile] = []
    refused: dict[str, str] = {}
    for file in offered:
        reason = names.refusal(file.path)
        if reason is None and times[file.path] > 1:
            reason = f"listed {times[file.path]} times"
        if reason is None and file.size < 0:
            reason = f"size {file.size}"
        if reason is None:
            kept.append(file)
        else:
            refused[file.path] = reason
    return Listing(
        repo_id=repo_id,
        revision=revision,
        fetched_at_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        files=tuple(sorted(kept, key=lambda file: file.path)),
        refused=tuple(
            Refused(path.encode("unicode_escape", "backslashreplace").decode("ascii"), reason)
            for path, reason in sorted(refused.items())
        ),
    )


def fetch_listing(repo_id: str, *, revision: str = "", endpoint: str = "") -> Listing:
    """Ask the Hub for every file of the dataset at `revision` (empty: the newest commit, then pinned).

    The token is huggingface_hub's own business (`HF_TOKEN` or `hf auth login`).

    Raises:
        NoPermissionError, NotFoundError, UnreachableError: as `pipeline.hub.errors` explains them.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint or None)
    with hub_errors(f"listing {repo_id}"):
        commit = api.dataset_info(repo_id, revision=revision or None).sha or revision
        tree = api.list_repo_tree(repo_id, repo_type="dataset", revision=commit, recursive=True)
        files = list(_remote_files(tree))
    return make_listing(repo_id, commit, files)


def fetch_files(repo_id: str, revision: str, paths: Sequence[str], *, endpoint: str = "") -> Listing:
    """Size and hash of just `paths`, for a selection that came without; missing ones are left out.

    Raises:
        NoPermissionError, NotFoundError, UnreachableError: as `pipeline.hub.errors` explains them.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint or None)
    files: list[RemoteFile] = []
    with hub_errors(f"sizes and hashes of {repo_id}"):
        for start in range(0, len(paths), PATHS_PER_REQUEST):
            asked = list(paths[start : start + PATHS_PER_REQUEST])
            found = api.get_paths_info(repo_id, asked, repo_type="dataset", revision=revision)
            files += _remote_files(found)
    return make_listing(repo_id, revision, files)


def _remote_files(entries: Iterable[object]) -> Iterator[RemoteFile]:
    from huggingface_hub.hf_api import RepoFile

    for entry in entries:
        if isinstance(entry, RepoFile):
            yield RemoteFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)


def read_listing(path: Path) -> Listing:
    """The listing in `path`, checked again: a cached file is foreign text too.

    Raises:
        NotFoundError: no such file. DamagedFileError: not a listing; the message names the key.
    """
    try:
        listing = msgspec.json.decode(path.read_bytes(), type=Listing)
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="xops relay listing --help") from None
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not a file listing: {error}") from None
    checked = make_listing(listing.repo_id, listing.revision, listing.files)
    return msgspec.structs.replace(
        checked, fetched_at_utc=listing.fetched_at_utc, refused=(*listing.refused, *checked.refused)
    )


def write_listing(path: Path, listing: Listing) -> None:
    """Publish `listing` as JSON, one file per line."""
    head = msgspec.json.encode(msgspec.structs.replace(listing, files=()))
    rows = b",\n".join(msgspec.json.encode(file) for file in listing.files)
    publish_bytes(path, head.replace(b'"files":[]', b'"files":[\n' + rows + b"\n]", 1) + b"\n")


def cached_listing(path: Path, repo_id: str, *, revision: str = "", endpoint: str = "") -> Listing:
    """`path` if it holds this repository (and this commit, when one is named), else a fresh listing."""
    if path.is_file():
        listing = read_listing(path)
        if listing.repo_id == repo_id and revision in ("", listing.revision):
            return listing
    listing = fetch_listing(repo_id, revision=revision, endpoint=endpoint)
    write_listing(path, listing)
    return listing

"""The stand-in Hub, as the unmodified huggingface_hub client sees it."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from pipeline.engine.errors import NoPermissionError, NotFoundError, UnreachableError
from pipeline.hub.listing import cached_listing, fetch_listing
from pipeline.standin.faults import Fault
from pipeline.standin.hub import REPO_ID, TOKEN, StandinHub, standin_hub

PATH = "11111111-0000-4000-8000-000000000000/ep3/fisheye_cam0.mp4"


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client as an operator has it, with a token, and with hf-xet if that is installed."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "dataset"
    for path, data in {
        PATH: os.urandom(700_000),
        "README.md": b"# hello\n",
        "a/ep1/annotation.hdf5": b"x" * 100,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture
def hub(dataset: Path) -> Iterator[StandinHub]:
    with standin_hub(dataset, page=2) as server:
        yield server


def download(hub: StandinHub, path: str, cache: Path, **options: object) -> Path:
    return Path(
        hf_hub_download(REPO_ID, path, repo_type="dataset", endpoint=hub.endpoint, cache_dir=cache, **options)  # type: ignore[call-overload]
    )


def test_dataset_info_with_sizes_and_hashes(hub: StandinHub) -> None:
    info = HfApi(endpoint=hub.endpoint).dataset_info(REPO_ID, files_metadata=True)
    assert info.sha == hub.repository.commit
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert siblings[PATH].size == 700_000
    assert siblings[PATH].lfs is not None
    assert siblings[PATH].lfs.sha256 == hub.repository.by_path[PATH].sha256
    assert siblings["README.md"].lfs is None


def test_the_recursive_tree_follows_its_pages(hub: StandinHub) -> None:
    tree = list(HfApi(endpoint=hub.endpoint).list_repo_tree(REPO_ID, repo_type="dataset", recursive=True))
    assert sorted(entry.path for entry in tree if isinstance(entry, RepoFile)) == sorted(
        hub.repository.by_path
    )
    assert len(tree) == 7
    assert sum("/tree/" in request.path for request in hub.requests) == 4


def test_one_folder_of_the_tree(hub: StandinHub) -> None:
    api = HfApi(endpoint=hub.endpoint)
    assert [entry.path for entry in api.list_repo_tree(REPO_ID, repo_type="dataset")] == [
        PATH.split("/", maxsplit=1)[0],
        "README.md",
        "a",
    ]
    assert [e.path for e in api.list_repo_tree(REPO_ID, "a/ep1", repo_type="dataset")] == [
        "a/ep1/annotation.hdf5"
    ]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(REPO_ID, "nowhere", repo_type="dataset"))


def test_paths_info(hub: StandinHub) -> None:
    found = HfApi(endpoint=hub.endpoint).get_paths_info(REPO_ID, [PATH, "nope"], repo_type="dataset")
    assert [entry.path for entry in found] == [PATH]


@pytest.mark.parametrize("path", [PATH, "README.md"])
def test_download_is_the_same_bytes(hub: StandinHub, dataset: Path, tmp_path: Path, path: str) -> None:
    assert download(hub, path, tmp_path / "cache").read_bytes() == (dataset / path).read_bytes()


def test_large_files_come_from_storage_without_the_token(hub: StandinHub, tmp_path: Path) -> None:
    download(hub, PATH, tmp_path / "cache")
    storage = [request for request in hub.requests if request.path.startswith("/storage/")]
    assert storage
    assert not any(request.authorized for request in storage)


def test_metadata_of_a_file(hub: StandinHub) -> None:
    url = hf_hub_url(REPO_ID, PATH, repo_type="dataset", endpoint=hub.endpoint)
    metadata = get_hf_file_metadata(url, token=TOKEN)
    entry = hub.repository.by_path[PATH]
    assert (metadata.commit_hash, metadata.etag, metadata.size) == (
        hub.repository.commit,
        entry.sha256,
        700_000,
    )


def test_the_gate(dataset: Path, tmp_path: Path) -> None:
    with standin_hub(dataset, accounts={"hf_new": "pending"}) as hub:
        for token in ("hf_new", False):
            with pytest.raises(GatedRepoError):
                download(hub, PATH, tmp_path / "cache", token=token)
        hub.accounts["hf_new"] = "granted"
        assert download(hub, PATH, tmp_path / "cache", token="hf_new").stat().st_size == 700_000
        with pytest.raises(HfHubHTTPError, match="Invalid user token"):
            HfApi(endpoint=hub.endpoint).whoami(token="hf_wrong")
        assert HfApi(endpoint=hub.endpoint).whoami(token="hf_new")["name"] == "operator"
        with pytest.raises(GatedRepoError):
            HfApi(endpoint=hub.endpoint).auth_check(REPO_ID, repo_type="dataset", token=False)


def test_what_does_not_exist(hub: StandinHub, tmp_path: Path) -> None:
    with pytest.raises(EntryNotFoundError):
        download(hub, "nope.bin", tmp_path / "cache")
    with pytest.raises(RevisionNotFoundError):
        download(hub, PATH, tmp_path / "cache", revision="f" * 40)
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.endpoint).dataset_info("nobody/nothing")


def test_ranges(hub: StandinHub, dataset: Path) -> None:
    url = hf_hub_url(REPO_ID, PATH, repo_type="dataset", endpoint=hub.endpoint)
    location = get_hf_file_metadata(url, token=TOKEN).location
    data = (dataset / PATH).read_bytes()

    def get(span: str) -> tuple[int, bytes, str]:
        request = urllib.request.Request(location, headers={"Range": span})
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers["Content-Range"]

    assert get("bytes=10-19") == (206, data[10:20], "bytes 10-19/700000")
    assert get("bytes=699990-") == (206, data[-10:], "bytes 699990-699999/700000")
    assert get("bytes=-5") == (206, data[-5:], "bytes 699995-699999/700000")
    with pytest.raises(urllib.error.HTTPError, match="416"):
        get("bytes=700000-")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(location.replace("signature=", "signature=0"))


def test_links_expire(dataset: Path) -> None:
    with standin_hub(dataset, link_seconds=-1) as hub:
        url = hf_hub_url(REPO_ID, PATH, repo_type="dataset", endpoint=hub.endpoint)
        location = get_hf_file_metadata(url, token=TOKEN).location
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(location)


def test_planted_statuses_run_out(hub: StandinHub) -> None:
    hub.faults.add(Fault(status=503, path=f"/api/datasets/{REPO_ID}", times=1))
    api = HfApi(endpoint=hub.endpoint)
    with pytest.raises(HfHubHTTPError, match="503"):
        api.dataset_info(REPO_ID)
    assert api.dataset_info(REPO_ID).id == REPO_ID


def test_the_stock_client_gets_over_a_lost_connection(hub: StandinHub, dataset: Path, tmp_path: Path) -> None:
    hub.faults.add(Fault("close", PATH, at=300_000))
    assert download(hub, PATH, tmp_path / "cache").read_bytes() == (dataset / PATH).read_bytes()


# Our listing over the same server.


def test_a_listing_is_fetched_pinned_and_cached(hub: StandinHub, tmp_path: Path) -> None:
    listing = fetch_listing(REPO_ID, endpoint=hub.endpoint)
    assert listing.revision == hub.repository.commit
    assert {file.path: (file.size, file.sha256) for file in listing.files} == {
        path: (entry.size, entry.sha256 if entry.lfs else None)
        for path, entry in hub.repository.by_path.items()
    }
    cache = tmp_path / "listing.json"
    first = cached_listing(cache, REPO_ID, endpoint=hub.endpoint)
    asked = len(hub.requests)
    assert cached_listing(cache, REPO_ID, endpoint=hub.endpoint) == first
    assert cached_listing(cache, REPO_ID, revision=first.revision, endpoint=hub.endpoint) == first
    assert len(hub.requests) == asked


def test_hostile_names_of_a_listing_are_refused(dataset: Path) -> None:
    hostile = (("../../etc/passwd", 5), ("/abs/ep1/x", 5), ("s/ep1/\x1b[2J", 5))
    with standin_hub(dataset, only_listed=hostile) as hub:
        listing = fetch_listing(REPO_ID, endpoint=hub.endpoint)
    assert len(listing.files) == 3
    assert {refused.reason for refused in listing.refused} == {
        "leaves its root",
        "absolute",
        "control characters",
    }


def test_listing_errors_are_in_an_operators_words(hub: StandinHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="no such repository"):
        fetch_listing("nobody/nothing", endpoint=hub.endpoint)
    with pytest.raises(NotFoundError, match="no such revision"):
        fetch_listing(REPO_ID, revision="f" * 40, endpoint=hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(NoPermissionError, match="refused the token"):
        fetch_listing(REPO_ID, endpoint=hub.endpoint)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        fetch_listing(REPO_ID, endpoint="http://127.0.0.1:9")


def test_as_a_process(dataset: Path) -> None:
    command = [sys.executable, "-m", "pipeline.standin.hub", str(dataset), "--open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            started = msgspec.json.decode(process.stdout.readline())
            info = HfApi(endpoint=started["endpoint"]).dataset_info(started["repo_id"], token=False)
            assert info.sha == started["revision"]
        finally:
            process.terminate()

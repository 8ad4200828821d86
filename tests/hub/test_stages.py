"""The stages select, access and preflight, run as the dispatcher runs them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.engine.config import DatasetConfig, HostConfig, WorkspaceConfig
from pipeline.engine.context import StageContext, loose_context
from pipeline.engine.errors import DamagedFileError, StageFailedError
from pipeline.engine.files import read_json
from pipeline.hub import names
from pipeline.hub.batches import make_batches
from pipeline.hub.choose import choose
from pipeline.hub.listing import write_listing
from pipeline.hub.pool import SelectRules, make_pool
from pipeline.hub.selection import read_selection, write_selection
from pipeline.stages import access, preflight, select
from pipeline.standin.hub import REPO_ID, TOKEN, StandinHub, standin_hub
from tests.hub.conftest import Events, random_listing

DEMO = {"target_episodes": 16, "min_annotation_gib": 0}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinHub]:
    """24 sessions of one tiny episode each."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for session in range(24):
        folder = tmp_path / "dataset" / f"{session:08d}-0000-4000-8000-000000000000" / "ep1"
        folder.mkdir(parents=True)
        for name in names.EPISODE_FILES:
            (folder / name).write_bytes(os.urandom(100 + 10 * session))
    with standin_hub(tmp_path / "dataset") as server:
        yield server


def context(
    tmp_path: Path, params: Any, events: Events, *, endpoint: str = "", **options: Any
) -> StageContext:
    made = loose_context(tmp_path / "workspace", params, **options)
    made.emit = events
    training = HostConfig(address="127.0.0.1:9", role="training", data_root="/data")
    made.config = WorkspaceConfig(
        dataset=DatasetConfig(repo_id=REPO_ID, endpoint=endpoint), hosts={"training": training}
    )
    return made


def verdicts(made: StageContext) -> dict[str, bool | None]:
    return {check.name: check.ok for check in made.checks}


def test_select_from_the_hub(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    made = context(tmp_path, msgspec.convert(DEMO, select.Params), events, endpoint=hub.endpoint)
    select.run(made)
    chosen = read_selection(made.out / select.SELECTION_FILE)
    assert chosen.commit == hub.repository.commit
    assert chosen.hashed
    assert set(verdicts(made).values()) == {True}
    assert [event for event, _ in events] == ["listed", "selected"]
    assert len((made.out / "download_files.txt").read_text().splitlines()) == 112
    assert sum(len(batch.files) for batch in make_batches(chosen)) == 112


def test_select_from_a_local_listing_needs_no_network(tmp_path: Path, events: Events) -> None:
    write_listing(tmp_path / "listing.json", random_listing(60))
    params = msgspec.convert({**DEMO, "listing": str(tmp_path / "listing.json")}, select.Params)
    made = context(tmp_path, params, events, endpoint="http://127.0.0.1:9")
    select.run(made)
    assert set(verdicts(made).values()) == {True}


def test_too_few_sessions_is_a_clear_failure(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    params = msgspec.convert({**DEMO, "target_episodes": 25}, select.Params)
    with pytest.raises(StageFailedError, match="25 episodes of different sessions"):
        select.run(context(tmp_path, params, events, endpoint=hub.endpoint))


def bare_selection(hub: StandinHub, path: Path) -> Path:
    """A selection of the hub's episodes as the original wrote it: no sizes and hashes per file."""
    from pipeline.hub.listing import fetch_listing

    chosen = choose(make_pool(fetch_listing(REPO_ID, endpoint=hub.endpoint), SelectRules(**DEMO)))  # type: ignore[arg-type]
    episodes = tuple(msgspec.structs.replace(episode, files=()) for episode in chosen.episodes)
    write_selection(path, msgspec.structs.replace(chosen, episodes=episodes))
    return path


def test_an_existing_selection_is_completed_from_the_hub(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    path = bare_selection(hub, tmp_path / "given.json")
    params = select.Params(selection=str(path))
    made = context(tmp_path, params, events, endpoint=hub.endpoint)
    select.run(made)
    chosen = read_selection(made.out / select.SELECTION_FILE)
    assert chosen.hashed
    assert [e.path for e in chosen.episodes] == [e.path for e in read_selection(path).episodes]
    assert set(verdicts(made).values()) == {True}


def test_an_existing_selection_without_a_hub_keeps_the_gate_closed(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    path = bare_selection(hub, tmp_path / "given.json")
    made = context(tmp_path, select.Params(selection=str(path)), events, endpoint="http://127.0.0.1:9")
    select.run(made)
    assert [name for name, ok in verdicts(made).items() if not ok] == ["every_file_hashed"]
    assert len(events.named("listing_unavailable")) == 1


def test_a_file_that_vanished_from_the_hub_is_an_error(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    path = bare_selection(hub, tmp_path / "given.json")
    del hub.repository.by_path[read_selection(path).download_files[5]]
    with pytest.raises(DamagedFileError, match="1 selected files are not in the listing"):
        select.run(context(tmp_path, select.Params(selection=str(path)), events, endpoint=hub.endpoint))


def test_the_real_selection_is_taken(real_selection: Path, tmp_path: Path, events: Events) -> None:
    made = context(
        tmp_path, select.Params(selection=str(real_selection)), events, endpoint="http://127.0.0.1:9"
    )
    select.run(made)
    assert [name for name, ok in verdicts(made).items() if not ok] == ["every_file_hashed"]
    again = read_selection(made.out / select.SELECTION_FILE)
    assert again.episodes == read_selection(real_selection).episodes


def test_access_waits_and_goes_on(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    hub.accounts[TOKEN] = "pending"

    def emit(event: str, **fields: Any) -> None:
        events(event, **fields)
        hub.accounts[TOKEN] = "granted"

    made = context(tmp_path, access.Params(first_wait_s=0.01), events, endpoint=hub.endpoint)
    made.emit = emit
    access.run(made)
    assert [fields["state"] for fields in events.named("access_probe")] == ["pending", "granted"]
    assert verdicts(made) == {"access_granted": True}
    assert TOKEN not in (made.out / "access.json").read_text()


def test_preflight_reports_every_row(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    write_selection(
        tmp_path / "select" / select.SELECTION_FILE, read_selection(bare_selection(hub, tmp_path / "b"))
    )
    params = preflight.Params(ssh_key=str(tmp_path / "none"))
    made = context(tmp_path, params, events, endpoint=hub.endpoint, upstreams={"select": tmp_path / "select"})
    preflight.run(made)
    rows = read_json(made.out / "preflight.json")
    assert [row["name"] for row in rows] == [event["name"] for event in events.named("preflight_row")]
    assert verdicts(made)["hub_access"] is True
    assert verdicts(made)["training_ssh"] is False
    assert verdicts(made)["relay_ssh_key"] is False

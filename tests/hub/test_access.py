"""The gate: every state told apart, the token read anew each time, and going on by itself."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.engine.errors import CancelledByOperatorError, WaitTimedOutError
from pipeline.hub.access import AccessState, Pace, probe_access, watch_access
from pipeline.standin.faults import Fault
from pipeline.standin.hub import REPO_ID, StandinHub, standin_hub
from tests.hub.conftest import Events

SECRET = "hf_very_secret"
QUICK = Pace(first_s=0.01, longest_s=0.02)


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandinHub]:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "README.md").write_text("x")
    with standin_hub(tmp_path / "dataset", accounts={SECRET: "pending"}) as server:
        yield server


def state(hub: StandinHub, repo_id: str = REPO_ID) -> AccessState:
    return probe_access(repo_id, endpoint=hub.endpoint).state


def test_pending_and_granted(hub: StandinHub) -> None:
    pending = probe_access(REPO_ID, endpoint=hub.endpoint)
    assert pending.state is AccessState.PENDING
    assert pending.account == "operator"
    assert "request access at" in pending.fix
    hub.accounts[SECRET] = "granted"
    granted = probe_access(REPO_ID, endpoint=hub.endpoint)
    assert granted.granted
    assert granted.fix == ""


def test_no_token_and_a_wrong_one(hub: StandinHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_revoked")
    assert state(hub) is AccessState.WRONG_TOKEN
    monkeypatch.delenv("HF_TOKEN")
    assert state(hub) is AccessState.NO_TOKEN
    hub.gated = False
    assert state(hub) is AccessState.GRANTED


def test_no_such_dataset_and_no_network(hub: StandinHub) -> None:
    assert state(hub, "nobody/nothing") is AccessState.NO_REPOSITORY
    assert probe_access(REPO_ID, endpoint="http://127.0.0.1:9").state is AccessState.NETWORK


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_struggling_hub_is_the_network(hub: StandinHub, status: int) -> None:
    hub.faults.add(Fault(status=status, path="/auth-check"))
    assert state(hub) is AccessState.NETWORK
    assert state(hub) is AccessState.PENDING


def test_it_goes_on_by_itself_when_the_gate_opens(hub: StandinHub, events: Events) -> None:
    def emit(event: str, **fields: object) -> None:
        events(event, **fields)
        if len(events.named("access_probe")) == 3:
            hub.accounts[SECRET] = "granted"

    access = watch_access(REPO_ID, emit=emit, cancel=threading.Event(), endpoint=hub.endpoint, pace=QUICK)
    assert access.granted
    assert [event["state"] for event in events.named("access_probe")] == ["pending"] * 3 + ["granted"]
    assert events[-1][0] == "access_granted"
    assert SECRET not in json.dumps(list(events))


def test_a_token_that_is_added_is_used_at_once(
    hub: StandinHub, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub.accounts[SECRET] = "granted"

    def emit(event: str, **fields: object) -> None:
        events(event, **fields)
        threading.Timer(0.1, monkeypatch.setenv, ("HF_TOKEN", SECRET)).start()

    hour = Pace(first_s=3600, longest_s=3600)
    watch_access(
        REPO_ID, emit=emit, cancel=threading.Event(), endpoint=hub.endpoint, pace=hour, token_look_s=0.02
    )
    assert [event["state"] for event in events.named("access_probe")] == ["no_token", "granted"]


def test_stopping(hub: StandinHub, events: Events) -> None:
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CancelledByOperatorError):
        watch_access(REPO_ID, emit=events, cancel=cancel, endpoint=hub.endpoint, pace=Pace(3600, 3600))
    with pytest.raises(WaitTimedOutError, match="after 2 probes"):
        watch_access(
            REPO_ID, emit=events, cancel=threading.Event(), endpoint=hub.endpoint, pace=QUICK, max_probes=2
        )


def test_waits_double_up_to_the_longest_and_vary() -> None:
    pace = Pace(first_s=60, longest_s=900, jitter=0.1)
    for probes, middle in ((1, 60), (2, 120), (4, 480), (5, 900), (5000, 900)):
        waits = {pace.wait(probes) for _ in range(50)}
        assert middle * 0.9 <= min(waits) < max(waits) <= middle * 1.1

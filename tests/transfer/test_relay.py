"""A relay moves every byte once and proves it, and may be killed at any moment. Real client, real sshd."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openssh import Sshd
from stage_process import StageProcess, Staging, read_events

from pipeline.engine.errors import CancelledByOperatorError, NoPermissionError
from pipeline.engine.files import read_json
from pipeline.hub import names
from pipeline.hub.selection import read_selection
from pipeline.standin.faults import Fault
from pipeline.standin.hub import TOKEN, StandinHub, standin_hub
from pipeline.transfer.relay.ledger import Ledger


def real_names(published: Path) -> list[str]:
    found = read_selection(published / "omni" / "xperience10m_128_episode_selection.json")
    return list(found.download_files)


def generated_names(episodes: int) -> list[str]:
    return [
        f"{number:08d}-0000-4000-8000-000000000000/ep1/{name}"
        for number in range(episodes)
        for name in names.EPISODE_FILES
    ]


def make_dataset(folder: Path, paths: Sequence[str], size: int, seed: int = 7) -> None:
    """Files of very different sizes, `size` bytes each on average."""
    rng = random.Random(seed)
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(rng.randbytes(rng.choice((size // 8, size // 2, 2 * size))))


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[StandinHub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    episodes, size = getattr(request, "param", (8, 20_000))
    make_dataset(tmp_path / "dataset", generated_names(episodes), size)
    with standin_hub(tmp_path / "dataset") as server:
        yield server


@pytest.fixture
def staging(hub: StandinHub, sshd: Sshd, tmp_path: Path) -> Staging:
    return Staging(hub, sshd, tmp_path)


def test_a_selection_arrives_whole_and_leaves_nothing_behind(staging: Staging) -> None:
    context, events = staging.run(batch_max_episodes=2)
    staging.check(context)
    for event in ("batch_validated", "batch_done"):
        assert sorted(e["batch"] for e in events.named(event)) == [1, 2, 3, 4]
    assert len(events.named("batch_deleted")) == 4
    assert len(events.named("file_done")) == 56
    assert events.named("relay_plan")[0]["files"] == 56
    assert {check.name: check.ok for check in context.checks} == {
        "staged_files_match_selection": True,
        "nothing_else_staged": True,
        "no_viewer_files": True,
        "unique_sessions": True,
    }
    assert context.artefacts[0].role == "data_root"


def test_running_again_moves_nothing(staging: Staging) -> None:
    staging.run()
    _, events = staging.run()
    assert events.named("found_there")[0]["files"] == 56
    assert not events.named("chunk_done")
    assert not events.named("chunk_downloaded")


def test_a_dry_run_moves_nothing(staging: Staging) -> None:
    context, events = staging.run(dry_run=True)
    assert events == []
    assert read_json(context.out / "plan.json")["files"] == 56
    assert not staging.destination.exists()


def test_what_lies_there_unknown_is_proved_instead_of_sent(staging: Staging) -> None:
    shutil.copytree(staging.dataset, staging.destination)
    _, events = staging.run()
    assert events.named("found_there")[0]["files"] == 56
    assert not events.named("chunk_downloaded")


def test_something_else_on_the_destination_fails_the_gate_and_is_left_alone(staging: Staging) -> None:
    stranger = staging.destination / "x" / "visualization.rrd"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"view")
    context, _ = staging.run()
    failed = {check.name for check in context.checks if not check.ok}
    assert failed == {"nothing_else_staged", "no_viewer_files"}
    assert stranger.exists()


def test_faults_of_the_hub_are_waited_out(staging: Staging) -> None:
    for fault in (
        Fault(status=429, retry_after=0.1, times=3),
        Fault(status=500, times=2),
        Fault(how="reset", at=100, times=2),
        Fault(how="short", at=10, times=2),
        Fault(how="flip", path="annotation.hdf5", at=50),
    ):
        staging.hub.faults.add(fault)
    context, _ = staging.run()
    staging.check(context)


def test_a_gate_that_closes_in_the_middle_ends_it_clearly_and_a_resume_goes_on(staging: Staging) -> None:
    def close_gate(event: str, fields: dict[str, Any]) -> None:
        if event == "file_done" and not staging.hub.faults.waiting:
            staging.hub.faults.add(Fault(status=403, times=10_000))

    with pytest.raises(NoPermissionError) as caught:
        staging.run(on_event=close_gate, batch_max_episodes=1)
    assert caught.value.hint
    arrived = len(staging.events.named("file_done"))
    staging.hub.faults.waiting.clear()
    context, events = staging.run(batch_max_episodes=1)
    staging.check(context)
    assert events.named("found_there")[0]["files"] >= arrived - 4


def test_a_file_the_hub_holds_wrong_is_named_and_the_others_arrive(staging: Staging) -> None:
    bad = next(staging.dataset.rglob("stereo_left.mp4"))
    path = bad.relative_to(staging.dataset).as_posix()
    staging.hub.faults.add(Fault(how="flip", path=path, at=5, times=100))
    context, events = staging.run()
    failures = read_json(context.out / "failures.json")
    assert [failure["path"] for failure in failures] == [path]
    assert events.named("file_failed")[0]["file"] == path
    (check,) = (check for check in context.checks if not check.ok and check.name.startswith("staged"))
    assert check.evidence["missing"] == [path]
    assert len(events.named("file_done")) == 55


def test_a_copy_that_goes_bad_on_the_relay_is_fetched_again(staging: Staging) -> None:
    def spoil(event: str, fields: dict[str, Any]) -> None:
        if event == "download_done" and not spoiled:
            target = staging.relay / "staging" / fields["file"]
            content = bytearray(target.read_bytes())
            content[3] ^= 1
            target.write_bytes(content)
            spoiled.append(fields["file"])

    spoiled: list[str] = []
    context, events = staging.run(on_event=spoil)
    staging.check(context)
    assert events.named("source_damaged")[0]["file"] == spoiled[0]


def test_a_relay_that_is_paused_moves_nothing_until_it_goes_on(staging: Staging) -> None:
    context = staging.context()
    staging.control(context, download_paused=True)
    thread = threading.Thread(target=staging.run_in, args=(context,))
    thread.start()
    staging.events.until("paused")
    assert not staging.events.named("chunk_downloaded")
    staging.control(context, download_paused=False, lanes=2, bandwidth_mib_per_s=100.0)
    thread.join()
    staging.check(context)
    assert staging.events.named("limits")[-1]["lanes"] == 2


def test_cancelling_keeps_what_was_reached(staging: Staging) -> None:
    context = staging.context(bandwidth_mib_per_s=0.3, chunk_size_mib=0.01, chunk_threshold_mib=0)

    def stop(event: str, fields: dict[str, Any]) -> None:
        if event == "chunk_done" and len(staging.events.named("chunk_done")) > 20:
            context.cancelled.set()

    with pytest.raises(CancelledByOperatorError):
        staging.run_in(context, on_event=stop)
    before = sum(e["bytes"] for e in staging.events.named("chunk_done"))
    assert before
    _, events = staging.run(chunk_size_mib=0.01, chunk_threshold_mib=0)
    again = sum(e["bytes"] for e in events.named("chunk_done") if not e["kept"])
    found = sum(e["bytes"] for e in events.named("found_there"))
    total = sum(path.stat().st_size for path in staging.dataset.rglob("*") if path.is_file())
    assert again <= total - before or again + found <= total
    staging.check(context)


def test_two_relays_never_share_a_root(staging: Staging) -> None:
    from pipeline.engine.claim import Claim
    from pipeline.engine.errors import BusyError
    from pipeline.transfer.relay.run import LOCK

    with Claim(staging.relay / LOCK, what="the relay root"), pytest.raises(BusyError, match="is held by pid"):
        staging.run()


def test_left_overs_of_unwanted_files_are_removed(staging: Staging) -> None:
    left = staging.relay / "staging" / "gone" / "ep1" / ".annotation.hdf5.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    Ledger(staging.relay / "ledger").claim("a-run-that-is-gone", ["gone/ep1/annotation.hdf5"])
    context, _ = staging.run()
    staging.check(context)


def test_rsync_moves_the_same_bytes_and_is_proved_the_same_way(staging: Staging) -> None:
    if not shutil.which("rsync"):
        pytest.skip("rsync is not installed")
    context, events = staging.run(transfer_mode="rsync", parallel_files=2)
    staging.check(context)
    assert sum(e["sent"] for e in events.named("file_done")) == 0, "rsync had sent them"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("side", ["relay", "destination"])
def test_a_full_disk_is_waited_for(staging: Staging, side: str) -> None:
    small = staging.relay / "staging" if side == "relay" else staging.destination
    small.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(small)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    filler = small / "filler"
    try:
        if side == "destination":
            filler.write_bytes(bytes(1200 << 10))
        else:
            filler.mkdir()  # swept: a directory, so that only the file below it fills the disk
        context = staging.context(batch_max_episodes=1, prefetch=0)
        thread = threading.Thread(target=staging.run_in, args=(context,))
        if side == "relay":
            staging.on_event = _fill_once(small)
        thread.start()
        paused = staging.events.until("paused")
        assert paused["side"] == ("download" if side == "relay" else "transfer")
        assert paused["kind"] in {"disk full", "space"}
        for path in (filler, small / ".filler"):
            if path.is_file():
                path.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        thread.join()
        assert staging.events.named("continued")
        staging.check(context)
    finally:
        if subprocess.run(["umount", str(small)], check=False, capture_output=True).returncode:
            subprocess.run(["umount", "--lazy", str(small)], check=False)


def _fill_once(disk: Path) -> Any:
    filled: list[str] = []

    def fill(event: str, fields: dict[str, Any]) -> None:
        if event == "batch_download_start" and not filled:
            filled.append(event)
            state = os.statvfs(disk)
            (disk / ".filler").write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - 8192)))

    return fill


def test_thirty_kills_lose_nothing_and_send_nothing_twice(
    tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The stage's process, every connection, or both die thirty times at random moments."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        paths = real_names(request.getfixturevalue("published"))
    except pytest.skip.Exception:
        paths = generated_names(128)
    make_dataset(tmp_path / "dataset", paths, 24_000)
    rng = random.Random(11)
    with standin_hub(tmp_path / "dataset") as server:
        staging = Staging(server, sshd, tmp_path)
        process = StageProcess(staging, chunk_size_mib=0.0078125, chunk_threshold_mib=0.0078125, lanes=4)
        process.start()
        for kill in range(30):
            time.sleep(rng.uniform(0.2, 0.9))
            whom = ("sender", "server", "both")[kill % 3]
            if whom != "server":
                process.kill(signal.SIGKILL)
            if whom != "sender":
                sshd.kill_sessions()
            if whom != "server":
                process.start()
        assert process.wait() == 0, process.told()
        staging.check_files()
        events = read_events(process.log)
    sent = sum(e["bytes"] for e in events if e["event"] == "chunk_done" and not e["kept"])
    total = sum(path.stat().st_size for path in (tmp_path / "dataset").rglob("*") if path.is_file())
    assert sent <= total + 30 * 4 * 2 * 8192, "more than what was on the way was sent again"
    assert sent > total // 2, "the kills came after the bytes"


def test_every_name_of_the_real_selection_is_relayable(published: Path) -> None:
    for path in real_names(published):
        assert names.refusal(path) is None


def test_stage_parameters_are_the_seeds() -> None:
    from pipeline.stages.relay import Params

    defaults = msgspec.to_builtins(Params())
    assert {key: defaults[key] for key in ("batch_max_gib", "batch_max_episodes")} == {
        "batch_max_gib": 40.0,
        "batch_max_episodes": 16,
    }
    assert (defaults["chunk_parallel"], defaults["chunk_size_mib"], defaults["chunk_threshold_mib"]) == (
        8,
        8.0,
        8.0,
    )
    assert defaults["transfer_mode"] == "chunked"

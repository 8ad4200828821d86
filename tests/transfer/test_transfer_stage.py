"""Stage `transfer`: one directory to a host, without the Hub, over a real sshd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openssh import Sshd
from stage_process import Events
from test_relay import generated_names, make_dataset

from pipeline.engine.context import StageContext, loose_context
from pipeline.engine.errors import NotFoundError, UsageError
from pipeline.engine.files import read_json
from pipeline.stages import transfer


class Hosts:
    """A source here and a destination behind sshd."""

    def __init__(self, sshd: Sshd, folder: Path) -> None:
        self.sshd = sshd
        self.folder = folder
        self.source = folder / "dataset"
        self.destination = folder / "there"
        self.runs = 0
        make_dataset(self.source, generated_names(3), 40_000)

    def run(self, **options: Any) -> tuple[StageContext, Events]:
        self.runs += 1
        values = {
            "source": str(self.source),
            "transfer_host": self.sshd.target.address,
            "transfer_root": str(self.destination),
            "ssh_key": self.sshd.target.key,
            "known_hosts": self.sshd.target.known_hosts,
            "chunk_size_mib": 0.0078125,
            "chunk_threshold_mib": 0.0078125,
            **options,
        }
        events = Events()
        context = loose_context(
            self.folder / f"run{self.runs}", msgspec.convert(values, transfer.Params), emit=events
        )
        context.emit = events
        context.work = self.folder / "work"
        transfer.run(context)
        return context, events


@pytest.fixture
def hosts(sshd: Sshd, tmp_path: Path) -> Hosts:
    return Hosts(sshd, tmp_path)


def verdicts(context: StageContext) -> dict[str, bool | None]:
    return {check.name: check.ok for check in context.checks}


def test_a_directory_arrives_proved_and_a_second_run_sends_nothing(hosts: Hosts) -> None:
    context, _ = hosts.run()
    assert set(verdicts(context).values()) == {True}
    wanted = {p.relative_to(hosts.source): p.read_bytes() for p in hosts.source.rglob("*") if p.is_file()}
    found = {
        p.relative_to(hosts.destination): p.read_bytes() for p in hosts.destination.rglob("*") if p.is_file()
    }
    assert found == wanted
    assert all(file["sha256"] for file in read_json(context.out / "staged.json"))
    assert context.artefacts[0].role == "data_root"
    _, events = hosts.run()
    assert sum(event["sent"] for event in events.named("file_done")) == 0


def test_what_may_not_be_sent_and_what_is_there_besides_fail_the_gate(hosts: Hosts, tmp_path: Path) -> None:
    (hosts.source / "visualization.rrd").write_bytes(b"view")
    (hosts.source / "link").symlink_to(tmp_path)
    hosts.destination.mkdir()
    (hosts.destination / "other").write_bytes(b"other")
    context, events = hosts.run()
    assert {event["path"] for event in events.named("name_refused")} == {"visualization.rrd", "link"}
    assert verdicts(context) == {
        "source_arrived": False,
        "nothing_else_there": False,
        "no_viewer_files": True,
    }
    (hosts.source / "visualization.rrd").unlink()
    (hosts.source / "link").unlink()
    tolerant, _ = hosts.run(keep_extra=True)
    assert set(verdicts(tolerant).values()) == {True}


def test_without_a_source_or_a_host_it_says_what_to_name(hosts: Hosts) -> None:
    with pytest.raises(NotFoundError, match="is no directory"):
        hosts.run(source="/no/such/directory")
    with pytest.raises(UsageError, match="no training host"):
        hosts.run(transfer_host="")


def test_what_cannot_be_sent_is_named_and_closes_the_gate(tmp_path: Path) -> None:
    """A folder that cannot be read, a pipe and a link are no reason to say that everything arrived."""
    from pipeline.stages.transfer import _found

    source = tmp_path / "source"
    (source / "shut").mkdir(parents=True)
    (source / "a.bin").write_bytes(b"x")
    os.mkfifo(source / "pipe")
    (source / "link").symlink_to(source / "shut")
    (source / "shut").chmod(0)
    try:
        files, refused = _found(source)
    finally:
        (source / "shut").chmod(0o755)
    assert [file.path for file in files] == ["a.bin"]
    reasons = dict(refused)
    assert reasons["pipe"] == "no plain file"
    assert reasons["link"] == "a symbolic link"
    if os.geteuid() != 0:
        assert "cannot be read" in reasons["shut"]

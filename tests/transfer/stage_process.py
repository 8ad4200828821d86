"""The relay stage between a stand-in Hub and a real sshd: in this process, or in one that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from openssh import Sshd

from pipeline.engine.config import DatasetConfig, HostConfig, WorkspaceConfig
from pipeline.engine.context import StageContext, loose_context
from pipeline.hub.selection import write_selection
from pipeline.stages import relay
from pipeline.stages.select import SELECTION_FILE
from pipeline.standin.hub import REPO_ID, StandinHub
from pipeline.transfer.control import FILE, Control

ROOT = Path(__file__).parents[2]


class Events(list[tuple[str, dict[str, Any]]]):
    """An `Emit` that remembers, and tells one listener."""

    listener: Callable[[str, dict[str, Any]], None] | None = None

    def __call__(self, event: str, **fields: Any) -> None:
        self.append((event, fields))
        if self.listener:
            self.listener(event, fields)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self if name == event]

    def until(self, event: str, patience_s: float = 60.0) -> dict[str, Any]:
        end = time.monotonic() + patience_s
        while not self.named(event):
            assert time.monotonic() < end, f"no {event}: {[name for name, _ in self][-20:]}"
            time.sleep(0.01)
        return self.named(event)[0]


class Staging:
    """A dataset on a Hub, a relay root here, a destination behind sshd."""

    def __init__(self, hub: StandinHub, sshd: Sshd, folder: Path) -> None:
        self.hub = hub
        self.sshd = sshd
        self.folder = folder
        self.dataset = folder / "dataset"
        self.relay = folder / "relay"
        self.destination = folder / "destination"
        self.work = folder / "work"
        self.events = Events()
        self.on_event: Callable[[str, dict[str, Any]], None] | None = None
        self._runs = 0
        self.select = folder / "select"
        self.select.mkdir()
        write_selection(self.select / SELECTION_FILE, self._selection())

    def _selection(self) -> Any:
        from pipeline.hub.choose import choose
        from pipeline.hub.listing import fetch_listing
        from pipeline.hub.pool import SelectRules, make_pool

        listing = fetch_listing(REPO_ID, endpoint=self.hub.endpoint)
        episodes = len({path.parent for path in self.dataset.rglob("*.hdf5")})
        rules = SelectRules(
            target_episodes=episodes,
            min_annotation_gib=0.0,
            drop_bottom_annotation_percentile=0.0,
            drop_bottom_training_percentile=0.0,
        )
        return choose(make_pool(listing, rules))

    def params(self, **options: Any) -> dict[str, Any]:
        return {
            "relay_root": str(self.relay),
            "transfer_host": self.sshd.target.address,
            "transfer_root": str(self.destination),
            "ssh_key": self.sshd.target.key,
            "known_hosts": self.sshd.target.known_hosts,
            "low_water_gib": 0.0,
            "high_water_gib": 0.0,
            "chunk_size_mib": 1.0,
            **options,
        }

    def context(self, **options: Any) -> StageContext:
        self._runs += 1
        params = msgspec.convert(self.params(**options), relay.Params)
        made = loose_context(self.folder / f"run{self._runs}", params, upstreams={"select": self.select})
        made.work = self.work
        made.config = WorkspaceConfig(
            dataset=DatasetConfig(repo_id=REPO_ID, endpoint=self.hub.endpoint),
            hosts={"training": HostConfig(address="", role="training")},
        )
        self.events = Events()
        made.emit = self.events
        return made

    def run_in(
        self, context: StageContext, on_event: Callable[[str, dict[str, Any]], None] | None = None
    ) -> None:
        self.events.listener = on_event or self.on_event
        relay.run(context)

    def run(self, **options: Any) -> tuple[StageContext, Events]:
        on_event = options.pop("on_event", None)
        context = self.context(**options)
        self.run_in(context, on_event)
        return context, self.events

    def control(self, context: StageContext, **changes: Any) -> None:
        """What an operator's command writes."""
        path = context.paths.root / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        serial = json.loads(path.read_text())["serial"] if path.exists() else 0
        path.write_bytes(msgspec.json.encode(Control(serial=serial + 1, who="test", **changes)))

    def check(self, context: StageContext) -> None:
        assert all(check.ok for check in context.checks), [c.detail for c in context.checks if not c.ok]
        self.check_files()

    def check_files(self) -> None:
        """The destination is the dataset, and nothing is left on the relay."""
        found, wanted = (
            {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            for root in (self.destination, self.dataset)
        )
        assert found.keys() == wanted.keys()
        assert found == wanted
        left = [p for p in (self.relay / "staging").rglob("*") if p.is_file()]
        assert left == []


class StageProcess:
    """The stage in a process of its own, which may be killed and started again."""

    def __init__(self, staging: Staging, *, lanes: int = 4, **options: Any) -> None:
        self.staging = staging
        self.log = staging.folder / "events.jsonl"
        self.output = staging.folder / "output"
        options = {"chunk_parallel": lanes, "adaptive": False, "batch_max_episodes": 16, **options}
        self.arguments = json.dumps(
            {
                "params": staging.params(**options),
                "endpoint": staging.hub.endpoint,
                "folder": str(staging.folder),
            }
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("relay_program.py")), self.arguments],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )

    def kill(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait()

    def wait(self) -> int:
        assert self.process
        return self.process.wait(240)

    def told(self) -> str:
        return self.output.read_text()[-3000:]


def read_events(path: Path) -> list[dict[str, Any]]:
    """Events of a log whose writer was killed now and then."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found

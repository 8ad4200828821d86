"""Stage `preflight`: both hosts and the Hub are looked at before any byte is moved."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from pipeline.engine.config import HostConfig, WorkspaceConfig
from pipeline.engine.context import StageContext

if TYPE_CHECKING:
    from pipeline.hub.preflight import Preflight
    from pipeline.hub.remote_facts import Connect


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the relay will use; an empty value takes the workspace's host of that role.

    Attributes:
        relay_root: where batches are downloaded, on this machine.
        transfer_host: `[user@]host[:port]` of the training host.
        transfer_root: data root there.
        ssh_key: private key for that host.
        known_hosts: file of host keys; empty means ssh's own.
        host_keys: `accept-new` records a host never seen; a changed key fails always.
        transfer_mode: how the relay will move files.
        batch_max_gib, batch_max_episodes, prefetch: how much of the selection lies on the relay at a time.
    """

    relay_root: str = ""
    transfer_host: str = ""
    transfer_root: str = ""
    ssh_key: str = ""
    known_hosts: str = ""
    host_keys: Literal["strict", "accept-new"] = "accept-new"
    transfer_mode: Literal["chunked", "rsync"] = "chunked"
    batch_max_gib: Annotated[float, Meta(gt=0)] = 40.0
    batch_max_episodes: Annotated[int, Meta(ge=1)] = 16
    prefetch: Annotated[int, Meta(ge=0)] = 1


def run(context: StageContext) -> None:
    """Publish the rows as `preflight.json`; every row is a question of the gate."""
    from pipeline.engine.files import publish_json
    from pipeline.hub.preflight import run_preflight

    asked = _asked(context)
    rows = asyncio.run(run_preflight(asked, connect=connector(asked, context.params)))
    publish_json(context.out / "preflight.json", msgspec.to_builtins(rows))
    for row in rows:
        context.emit("preflight_row", **msgspec.to_builtins(row))
        fix = f"; {row.fix}" if row.fix else ""
        context.check(f"{row.role}_{row.name}", row.status != "fail", f"{row.host}: {row.detail}{fix}")


def connector(asked: Preflight, params: Params) -> Connect:
    """Log in exactly as the relay will: same key, same host keys, same rules."""
    from pipeline.transfer.ssh import SshTarget, connect

    key = asked.ssh_key if Path(asked.ssh_key).expanduser().is_file() else ""
    target = SshTarget(
        address=asked.transfer_host, key=key, known_hosts=params.known_hosts, host_keys=params.host_keys
    )
    return lambda: connect(target)


def host_of(config: WorkspaceConfig, role: str) -> HostConfig | None:
    """The first host of that role in the workspace's configuration."""
    return next((host for host in config.hosts.values() if host.role == role), None)


def _asked(context: StageContext) -> Preflight:
    from pipeline.hub.keys import DEFAULT_KEY
    from pipeline.hub.preflight import Preflight
    from pipeline.hub.relay_plan import plan_relay
    from pipeline.hub.selection import read_selection
    from pipeline.stages.select import SELECTION_FILE

    params, config = context.params, context.config
    relay = host_of(config, "relay") or HostConfig()
    training = host_of(config, "training") or HostConfig(address="")
    selection = read_selection(context.upstream("select") / SELECTION_FILE)
    return Preflight(
        repo_id=selection.repo_id,
        endpoint=config.dataset.endpoint,
        plan=plan_relay(
            selection,
            batch_max_gib=params.batch_max_gib,
            batch_max_episodes=params.batch_max_episodes,
            prefetch=params.prefetch,
        ),
        relay_root=Path(params.relay_root or relay.data_root or context.workspace.root / "relay"),
        transfer_host=params.transfer_host or training.address,
        transfer_root=params.transfer_root or training.data_root,
        ssh_key=params.ssh_key or training.ssh_key or str(DEFAULT_KEY),
        transfer_mode=params.transfer_mode,
    )

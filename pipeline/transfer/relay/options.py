"""What a relay is told: the seed's options under the seed's names, and what they default to."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from pipeline.hub.batches import DEFAULT_MAX_EPISODES, DEFAULT_MAX_GIB

Count = Annotated[int, Meta(ge=1, le=64)]
Size = Annotated[float, Meta(ge=0)]


class Link(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where bytes go and how hard the way there is worked.

    Attributes:
        transfer_host: `[user@]host[:port]`; empty takes the workspace's training host.
        transfer_root: data root there; empty takes the workspace's.
        ssh_key: private key; empty takes the workspace's, else the relay's own.
        known_hosts: file of host keys; empty means ssh's own.
        host_keys: `accept-new` records a host never seen; a changed key is refused always.
        transfer_mode: `chunked` over parallel connections, or `rsync`.
        chunk_parallel: most connections.
        chunk_size_mib: size of a chunk.
        chunk_threshold_mib: files up to this size are sent in one exchange.
        adaptive: begin with few connections and add what pays.
        bandwidth_mib_per_s: cap; 0 for none.
    """

    transfer_host: str = ""
    transfer_root: str = ""
    ssh_key: str = ""
    known_hosts: str = ""
    host_keys: Literal["strict", "accept-new"] = "accept-new"
    transfer_mode: Literal["chunked", "rsync"] = "chunked"
    chunk_parallel: Count = 8
    chunk_size_mib: Annotated[float, Meta(gt=0, le=64)] = 8.0
    chunk_threshold_mib: Size = 8.0
    adaptive: bool = True
    bandwidth_mib_per_s: Size = 0.0


class RelayOptions(Link, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `Link`, and how the relay's own disk and the Hub are used.

    Attributes:
        relay_root: directory on this machine; empty takes the workspace's relay host's, else `relay/` in
            the workspace.
        batch_max_gib, batch_max_episodes: caps of a batch.
        prefetch: batches that may be downloaded ahead of the one being transferred.
        delete_after_transfer: remove a batch here once it is proved there.
        low_water_gib: free space that must stay on the relay's disk.
        high_water_gib: free space at which downloads go on after they had to wait.
        parallel_files, parallel_chunks: downloads at a time, and ranges of one file at a time.
        dry_run: publish the plan and move nothing.
    """

    relay_root: str = ""
    batch_max_gib: Annotated[float, Meta(gt=0)] = DEFAULT_MAX_GIB
    batch_max_episodes: Annotated[int, Meta(ge=1)] = DEFAULT_MAX_EPISODES
    prefetch: Annotated[int, Meta(ge=0)] = 1
    delete_after_transfer: bool = True
    low_water_gib: Size = 1.0
    high_water_gib: Size = 2.0
    parallel_files: Count = 4
    parallel_chunks: Count = 4
    dry_run: bool = False

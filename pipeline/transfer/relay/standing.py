"""How a relay stands, from its event log alone: what `xops relay status` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: What later events say about a batch.
_STATES = {
    "batch_download_start": "downloading",
    "batch_transfer_start": "transferring",
    "batch_validated": "proved",
    "batch_deleted": "proved, removed here",
    "batch_failed": "failed",
}


def standing(log: Path) -> dict[str, Any]:
    """Batches with their state, the last rates, the disks, and open pauses; empty before it began."""
    found: dict[str, Any] = {"batches": [], "destination": None, "done": None, "total": None, "limit": None}
    batches: dict[int, dict[str, Any]] = {}
    pauses: dict[str, str] = {}
    for event in _events(log):
        name = event.get("event")
        if name == "relay_plan":
            batches = {batch["number"]: {**batch, "state": "waiting"} for batch in event["batches"]}
            found |= {key: event[key] for key in ("destination", "relay_root", "mode", "files", "bytes")}
        elif name in _STATES and event.get("batch") in batches:
            batches[event["batch"]]["state"] = _STATES[name]
        elif name == "rates":
            keys = ("download_bytes_per_s", "transfer_bytes_per_s", "lanes", "limit", "done", "total")
            found |= {key: event.get(key) for key in keys}
        elif name == "space":
            found[f"{event['root']}_free"] = event["free"]
        elif name == "paused":
            pauses[event["side"]] = f"{event['kind']}: {event['reason']}"
        elif name == "continued":
            pauses.pop(event["side"], None)
    return (
        found
        | {f"{side}_paused": reason for side, reason in pauses.items()}
        | {"batches": list(batches.values())}
    )


def _events(log: Path) -> Any:
    """Whole lines; a torn one counts for nothing."""
    try:
        lines = log.open("rb")
    except FileNotFoundError:
        return
    with lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event

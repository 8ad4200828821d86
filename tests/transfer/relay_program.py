"""Runs the relay stage with arguments from the command line, logging events to a file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from pipeline.engine.config import DatasetConfig, HostConfig, WorkspaceConfig
from pipeline.engine.context import loose_context
from pipeline.stages import relay
from pipeline.standin.hub import REPO_ID


def main() -> None:
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    log = os.open(folder / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def emit(event: str, **fields: Any) -> None:
        os.write(log, msgspec.json.encode({"event": event, **fields}) + b"\n")

    context = loose_context(
        Path(tempfile.mkdtemp(dir=folder)),
        msgspec.convert(asked["params"], relay.Params),
        upstreams={"select": folder / "select"},
        emit=emit,
    )
    context.work = folder / "work"
    context.config = WorkspaceConfig(
        dataset=DatasetConfig(repo_id=REPO_ID, endpoint=asked["endpoint"]),
        hosts={"training": HostConfig(address="", role="training")},
    )
    relay.run(context)
    failed = [check.detail for check in context.checks if not check.ok]
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()

"""What a relay's events add up to, in whatever order and shape they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.transfer.follow import RelayLog
from pipeline.transfer.view import DONE, FAILED, FETCHED, KEPT, WAITING, RelayFold

MIB = 1 << 20
PLAN = {
    "event": "relay_plan",
    "batches": [
        {"number": n, "episodes": 1, "files": 1, "bytes": 3 * MIB, "bytes_left": 3 * MIB} for n in (1, 2)
    ],
    "files": 2,
    "bytes": 6 * MIB,
    "chunks": 6,
    "chunk_bytes": MIB,
    "destination": "host:/data",
    "relay_root": "/relay",
    "mode": "chunked",
}


def relay(file: str = "s/ep1/a", batch: int = 1) -> list[dict[str, Any]]:
    """The events of one file of three chunks."""
    of = {"file": file, "batch": batch}
    chunk = {"chunks": 3, "bytes": MIB, "seconds": 0.1, "attempt": 1, **of}
    return [
        {"event": "batch_download_start", "batch": batch, "files": 1, "bytes": 3 * MIB},
        {"event": "download_start", "bytes": 3 * MIB, "kept": 0, "total": 3, **of},
        {"event": "chunk_downloaded", "chunk": 0, "bytes": MIB, "done": 1, "total": 3, **of},
        {"event": "download_done", "bytes": 3 * MIB, **of},
        {"event": "batch_download_done", "batch": batch, "files": 1, "bytes": 3 * MIB},
        {"event": "batch_transfer_start", "batch": batch, "files": 1, "bytes": 3 * MIB},
        {"event": "file_start", "bytes": 3 * MIB, "chunks": 3, "kept": MIB, **of},
        {"event": "chunk_done", "chunk": 0, "lane": None, "kept": True, **chunk},
        {"event": "chunk_done", "chunk": 1, "lane": 0, "kept": False, **chunk},
        {
            "event": "chunk_failed",
            "chunk": 2,
            "lane": 1,
            "attempt": 1,
            "error": "damaged",
            "retry_in": 0,
            **of,
        },
        {"event": "chunk_done", "chunk": 2, "lane": 1, "kept": False, **chunk},
        {
            "event": "file_done",
            "bytes": 3 * MIB,
            "sha256": "x",
            "seconds": 1,
            "sent": 2 * MIB,
            "kept": MIB,
            **of,
        },
        {"event": "batch_validated", "batch": batch, "files": 1, "bytes": 3 * MIB},
        {"event": "batch_deleted", "batch": batch, "bytes": 3 * MIB},
    ]


def folded(events: list[dict[str, Any]]) -> RelayFold:
    fold = RelayFold()
    for second, event in enumerate(events):
        fold.feed({"timestamp": 1000.0 + second, **event})
    return fold


def test_a_file_goes_through_its_states() -> None:
    events = [PLAN, *relay()]
    states = [folded(events[: count + 1]).files["s/ep1/a"].state for count in range(2, len(events))]
    assert list(dict.fromkeys(states)) == ["downloading", "here", "sending", "proved"]
    cells = [bytes(folded(events[: count + 1]).files["s/ep1/a"].cells) for count in (3, 4, 9, 10, 11)]
    assert cells == [
        bytes([FETCHED, WAITING, WAITING]),
        bytes([FETCHED] * 3),
        bytes([KEPT, DONE, FETCHED]),
        bytes([KEPT, DONE, FAILED]),
        bytes([KEPT, DONE, DONE]),
    ]


def test_batches_lanes_and_sums() -> None:
    fold = folded([PLAN, *relay()])
    assert [batch.state for batch in fold.batches.values()] == ["proved", "waiting"]
    assert fold.batches[1].deleted
    assert (fold.done, fold.total) == (3 * MIB, 6 * MIB)
    assert {number: lane.bytes for number, lane in fold.lanes.items()} == {0: MIB, 1: MIB}
    assert [text for _, text in fold.troubles] == ["s/ep1/a chunk 2: damaged"]


def test_what_a_stop_costs_is_at_most_what_is_on_the_way() -> None:
    up = [{"event": "lane_up", "lane": lane, "kind": "agent"} for lane in range(2)]
    assert folded([PLAN, *up]).cost_of_stopping == 4 * MIB
    assert folded([PLAN, *up, *relay(), *relay("s/ep2/a", 2)]).cost_of_stopping == 0


def test_pauses_end_and_troubles_stay() -> None:
    paused = {"event": "paused", "side": "transfer", "kind": "disk full", "reason": "no room"}
    fold = folded([PLAN, paused])
    assert fold.paused["transfer"][:2] == ("disk full", "no room")
    fold = folded([PLAN, paused, {"event": "continued", "side": "transfer"}])
    assert not fold.paused
    assert "no room" in fold.troubles[0][1]


def test_a_new_attempt_begins_anew() -> None:
    again = {**PLAN, "batches": [{**PLAN["batches"][0], "bytes_left": 0}, PLAN["batches"][1]]}  # type: ignore[index]
    fold = folded([PLAN, *relay(), again])
    assert fold.done == 3 * MIB
    assert fold.batches[1].state == "proved"
    assert not fold.files


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                [
                    "event",
                    "file",
                    "batch",
                    "bytes",
                    "chunk",
                    "chunks",
                    "lane",
                    "kept",
                    "side",
                    "done",
                    "total",
                    "root",
                    "batches",
                    "reason",
                ]
            ),
            st.none()
            | st.integers(-5, 5)
            | st.text(max_size=5)
            | st.sampled_from(["relay_plan", "chunk_done", "file_failed", "paused", "rates"]),
        )
    )
)
def test_no_event_breaks_it(events: list[dict[str, Any]]) -> None:
    fold = folded([PLAN, *events])
    assert fold.total >= 0
    assert fold.cost_of_stopping >= 0


def test_only_new_bytes_are_read_and_a_torn_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    log = RelayLog(path)
    assert not log.read()
    lines = [json.dumps({"timestamp": 1.0, **event}) for event in (PLAN, *relay())]
    path.write_text(lines[0] + "\n" + lines[1][:10])
    assert log.read()
    assert len(log.fold.batches) == 2
    with path.open("a") as file:
        file.write(lines[1][10:] + "\n" + "\n".join(lines[2:]) + "\nnot json\n")
    assert log.read()
    assert log.fold.files["s/ep1/a"].state == "proved"
    assert log.damaged == 1
    path.write_text(lines[0] + "\n")
    assert log.read()
    assert not log.fold.files

"""A relay or transfer as its events tell it: batches on two lanes, chunks, rates, disks, pauses.

`RelayFold` takes events one at a time, in the order of the log, and is cheap enough for the 40,000 of a whole
relay; what it holds is plain data that a screen may read between two events. Light: it is on the console's
path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: What a chunk's cell says, as stored in `File.cells`.
WAITING, FETCHED, DONE, KEPT, FAILED = range(5)

_RATES = 600
_TROUBLES = 200


@dataclass(slots=True)
class Batch:
    """One batch on both lanes.

    Attributes:
        number, episodes, files, bytes: what it is.
        left: bytes that were still missing when this attempt began.
        downloaded, transferred: bytes so far in this attempt.
        download_began, download_ended, transfer_began, transfer_ended: Unix seconds; None before.
        deleted, failed: whether it left the relay, and whether some file of it could not be moved.
    """

    number: int
    episodes: int = 0
    files: int = 0
    bytes: int = 0
    left: int = 0
    downloaded: int = 0
    transferred: int = 0
    download_began: float | None = None
    download_ended: float | None = None
    transfer_began: float | None = None
    transfer_ended: float | None = None
    deleted: bool = False
    failed: bool = False

    @property
    def state(self) -> str:
        """One word."""
        if self.failed:
            return "failed"
        if self.transfer_ended is not None or not self.left:
            return "proved"
        if self.transfer_began is not None:
            return "transferring"
        return "downloading" if self.download_began is not None else "waiting"


@dataclass(slots=True)
class File:
    """One file.

    Attributes:
        path, batch, bytes: which.
        chunks: how many there are of it.
        cells: a code per chunk.
        state: waiting, downloading, here, sending, proved or failed.
        touched: Unix seconds of its last event.
        sent, kept: bytes sent in this attempt, and found there.
    """

    path: str
    batch: int = 0
    bytes: int = 0
    chunks: int = 0
    cells: bytearray = field(default_factory=bytearray)
    state: str = "waiting"
    touched: float = 0.0
    sent: int = 0
    kept: int = 0


@dataclass(slots=True)
class Lane:
    """One connection: since when, how it writes, what went over it, how often it was lost."""

    number: int
    kind: str = ""
    since: float | None = None
    bytes: int = 0
    lost: int = 0
    error: str = ""


@dataclass(slots=True)
class Disk:
    """A file system: bytes free now, used by the relay, promised; its marks; `(when, free)` lately."""

    path: str = ""
    free: int = 0
    used: int | None = None
    reserved: int | None = None
    low: int = 0
    high: int = 0
    history: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RATES))


@dataclass(frozen=True, slots=True)
class Rate:
    """What one `rates` event said: bytes per second on both lanes."""

    when: float
    download: float
    transfer: float


@dataclass(slots=True)
class RelayFold:
    """Everything the events of one attempt say; see the module.

    Attributes:
        began, last: Unix seconds of the first and the newest event.
        plan: the fields of `relay_plan`, without its batches.
        batches, files, lanes, disks: by number, path, number, and `relay` or `destination`.
        rates: the newest last.
        limit: which part holds the relay up.
        done, total: bytes proved on the destination, of all.
        limits: what the operator changed last.
        paused: side -> (kind, reason, since).
        troubles: newest last: (when, text).
        ended: how the attempt ended; empty while it runs.
    """

    began: float | None = None
    last: float | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    lanes: dict[int, Lane] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    rates: deque[Rate] = field(default_factory=lambda: deque(maxlen=_RATES))
    limit: str = ""
    done: int = 0
    total: int = 0
    limits: dict[str, Any] = field(default_factory=dict)
    paused: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    troubles: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_TROUBLES))
    ended: str = ""

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take the next event; one that is not ours, or lacks what it should have, changes nothing."""
        take = _TAKES.get(str(event.get("event")))
        when = event.get("timestamp")
        if isinstance(when, (int, float)):
            self.last = float(when)
            self.began = self.last if self.began is None else self.began
        if take is None:
            return
        try:
            take(self, event, self.last or 0.0)
        except (KeyError, TypeError, ValueError, IndexError):
            return  # torn or foreign

    def file(self, event: Mapping[str, Any]) -> File:
        """The file an event is about."""
        path = str(event["file"])
        found = self.files.get(path)
        if found is None:
            found = self.files[path] = File(path, int(event.get("batch") or 0))
        found.touched = self.last or 0.0
        return found

    def batch(self, event: Mapping[str, Any]) -> Batch:
        """The batch an event is about."""
        number = int(event["batch"])
        return self.batches.setdefault(number, Batch(number))

    def trouble(self, text: str) -> None:
        """Remember something that went wrong."""
        self.troubles.append((self.last or 0.0, text))

    @property
    def chunk_bytes(self) -> int:
        """Size of a chunk."""
        return int(self.plan.get("chunk_bytes") or 0)

    @property
    def cost_of_stopping(self) -> int:
        """Bytes that would be sent again after a stop now: at most what is on the way on every lane."""
        on_the_way = 2 * self.chunk_bytes * sum(lane.since is not None for lane in self.lanes.values())
        return max(0, min(on_the_way, self.total - self.done))

    def eta(self) -> tuple[float, float] | None:
        """Seconds to the end at the fastest and the slowest rate of the last minutes; None if unknown."""
        recent = [min(rate.download or rate.transfer, rate.transfer) for rate in list(self.rates)[-30:]]
        moving = sorted(rate for rate in recent if rate > 0)
        left = self.total - self.done
        if not moving or left <= 0:
            return None
        return left / moving[-1], left / moving[len(moving) // 4]

    def quiet_files(self, now: float) -> list[File]:
        """Files that are being sent and had no event for ten times the usual while, longest quiet first."""
        sending = [file for file in self.files.values() if file.state == "sending"]
        speed = self.rates[-1].transfer if self.rates else 0.0
        usual = max(10.0, 10 * self.chunk_bytes / speed) if speed else 30.0
        return sorted((f for f in sending if now - f.touched > usual), key=lambda f: f.touched)

    def cells(self) -> bytearray:
        """The cells of all files known, in the order they were first told of."""
        joined = bytearray()
        for file in self.files.values():
            joined += file.cells
        return joined


def _plan(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
    """A new attempt begins; a plan that is no plan changes nothing."""
    batches = [
        Batch(
            int(planned["number"]),
            int(planned.get("episodes") or 0),
            int(planned["files"]),
            int(planned["bytes"]),
            int(planned["bytes_left"]),
        )
        for planned in event["batches"]
    ]
    total = int(event["bytes"])
    if total < 0 or any(min(batch.bytes, batch.left) < 0 for batch in batches):
        raise ValueError("a plan of less than nothing")
    began = fold.began
    fold.__init__()  # type: ignore[misc]
    fold.began, fold.last = began or when, when
    fold.plan = {key: value for key, value in event.items() if key != "batches"}
    fold.total = total
    fold.batches = {batch.number: batch for batch in batches}
    fold.done = max(0, total - sum(batch.left for batch in batches))


def _download_start(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    file.bytes, file.state = int(event["bytes"]), "downloading"
    _size(fold, file)


def _size(fold: RelayFold, file: File, chunks: int = 0) -> None:
    """Give a file its cells."""
    file.chunks = chunks or file.chunks or max(1, -(-file.bytes // max(1, fold.chunk_bytes)))
    if len(file.cells) != file.chunks:
        file.cells = bytearray(file.chunks)


def _chunk_downloaded(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    if batch := fold.batches.get(file.batch):
        batch.downloaded += int(event["bytes"])
    done, total = int(event["done"]), int(event["total"])
    _size(fold, file)
    for cell in range(file.chunks * done // max(1, total)):
        if file.cells[cell] == WAITING:
            file.cells[cell] = FETCHED


def _download_done(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    file.bytes = int(event["bytes"])
    _size(fold, file)
    file.state = "here"
    file.cells = bytearray(cell or FETCHED for cell in file.cells)


def _file_start(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
    file = fold.file(event)
    file.bytes, file.state = int(event["bytes"]), "sending"
    _size(fold, file, int(event["chunks"]))
    batch = fold.batches.get(file.batch)
    if batch is not None and batch.transfer_began is None:
        batch.transfer_began = when


def _chunk_done(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    size, kept = int(event["bytes"]), bool(event["kept"])
    _size(fold, file, int(event["chunks"]))
    file.cells[int(event["chunk"])] = KEPT if kept else DONE
    if batch := fold.batches.get(file.batch):
        batch.transferred += size
    if kept:
        file.kept += size
        return
    file.sent += size
    lane = event.get("lane")
    if isinstance(lane, int):
        fold.lanes.setdefault(lane, Lane(lane)).bytes += size


def _chunk_failed(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    file.cells[int(event["chunk"])] = FAILED
    fold.trouble(f"{file.path} chunk {event['chunk']}: {event['error']}")


def _file_done(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    file.bytes, file.state = int(event["bytes"]), "proved"
    _size(fold, file)
    file.cells = bytearray(cell if cell in (DONE, KEPT) else KEPT for cell in file.cells)
    fold.done = min(fold.total, fold.done + file.bytes)


def _file_failed(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    file = fold.file(event)
    file.state = "failed"
    file.cells = bytearray([FAILED]) * max(1, file.chunks)
    file.chunks = len(file.cells)
    fold.trouble(f"{file.path}: {event['reason']}")


def _batch_time(attribute: str) -> Any:
    def take(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
        batch = fold.batch(event)
        if getattr(batch, attribute) is None:
            setattr(batch, attribute, when)

    return take


def _batch_flag(attribute: str) -> Any:
    def take(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
        setattr(fold.batch(event), attribute, True)

    return take


def _lane_up(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
    lane = fold.lanes.setdefault(int(event["lane"]), Lane(int(event["lane"])))
    lane.kind, lane.since, lane.error = str(event["kind"]), when, ""


def _lane_lost(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    lane = fold.lanes.setdefault(int(event["lane"]), Lane(int(event["lane"])))
    lane.since, lane.lost, lane.error = None, lane.lost + 1, str(event["error"])
    fold.trouble(f"connection {lane.number} lost: {lane.error}")


def _rates(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
    fold.rates.append(Rate(when, float(event["download_bytes_per_s"]), float(event["transfer_bytes_per_s"])))
    fold.limit = str(event["limit"])


def _space(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
    disk = fold.disks.setdefault(str(event["root"]), Disk())
    disk.path, disk.free = str(event["path"]), int(event["free"])
    disk.used, disk.reserved = event.get("used"), event.get("reserved")
    disk.low, disk.high = int(event["low"]), int(event["high"])
    disk.history.append((when, disk.free))


def _paused(fold: RelayFold, event: Mapping[str, Any], when: float) -> None:
    fold.paused[str(event["side"])] = (str(event["kind"]), str(event["reason"]), when)
    fold.trouble(f"{event['side']} paused: {event['kind']}: {event['reason']}")


def _continued(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    fold.paused.pop(str(event["side"]), None)


def _limits(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    fold.limits = dict(event)


def _told(event_text: str) -> Any:
    def take(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
        fold.trouble(event_text.format_map({"file": "?", "reason": "", "actual": "", "chunk": "", **event}))

    return take


def _ended(fold: RelayFold, event: Mapping[str, Any], _: float) -> None:
    fold.ended = str(event["event"])
    fold.paused.clear()
    for lane in fold.lanes.values():
        lane.since = None


_TAKES = {
    "relay_plan": _plan,
    "download_start": _download_start,
    "chunk_downloaded": _chunk_downloaded,
    "download_done": _download_done,
    "download_retry": _told("{file}: download chunk {chunk}: {reason}"),
    "download_mismatch": _told("{file}: arrived with sha256 {actual}"),
    "source_damaged": _told("{file}: {reason}"),
    "mismatch": _told("{file}: sha256 there is {actual}"),
    "file_start": _file_start,
    "chunk_done": _chunk_done,
    "chunk_failed": _chunk_failed,
    "file_done": _file_done,
    "file_failed": _file_failed,
    "batch_download_start": _batch_time("download_began"),
    "batch_download_done": _batch_time("download_ended"),
    "batch_transfer_start": _batch_time("transfer_began"),
    "batch_validated": _batch_time("transfer_ended"),
    "batch_deleted": _batch_flag("deleted"),
    "batch_failed": _batch_flag("failed"),
    "lane_up": _lane_up,
    "lane_lost": _lane_lost,
    "rates": _rates,
    "space": _space,
    "paused": _paused,
    "continued": _continued,
    "limits": _limits,
    "complete": _ended,
    "failed": _ended,
    "cancelled": _ended,
}

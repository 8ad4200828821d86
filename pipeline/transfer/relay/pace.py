"""Pauses and rates of both lanes, and which of them holds the other up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pipeline.engine.errors import CancelledByOperatorError
from pipeline.engine.log import Emit
from pipeline.transfer.control import Control
from pipeline.transfer.limits import Limits
from pipeline.transfer.sender import Cancel, Sender

MIB = 1 << 20
_LOOK_S = 1.0
_REPORT_S = 2.0


class Pace:
    """What is wanted now, and how fast it goes.

    Also the limiter of every download: while downloads are paused, their next block waits.

    Args:
        limits: of the transfer, as the stage was started.
        clock: seconds; for tests.

    Attributes:
        downloaded: bytes fetched in this attempt.
        already: bytes proved on the destination before it.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.downloaded = 0
        self.already = 0
        self._limits = limits
        self._serial = 0
        self._served = 0
        self._may_download = asyncio.Event()
        self._may_download.set()
        self._paused = {"download": False, "transfer": False}

    @property
    def paused(self) -> dict[str, bool]:
        """Which sides the operator stopped."""
        return dict(self._paused)

    async def acquire(self, size: int) -> None:
        """A download's next block: waits while downloads are paused."""
        del size
        await self._may_download.wait()

    async def download_turn(self, cancel: Cancel) -> None:
        """Wait until downloads may begin; a cancelled relay waits for nothing."""
        while not self._may_download.is_set():
            if cancel.is_set():
                raise CancelledByOperatorError("relay stopped as asked", hint="what was reached is kept")
            try:
                async with asyncio.timeout(0.2):
                    await self._may_download.wait()
            except TimeoutError:
                continue

    def apply(self, control: Control, sender: Sender, emit: Emit) -> None:
        """Do what the operator changed since the last look."""
        if control.serial == self._serial:
            return
        self._serial = control.serial
        cap = control.bandwidth_mib_per_s
        limits = Limits(
            lanes=control.lanes or self._limits.lanes,
            adaptive=self._limits.adaptive and control.lanes is None,
            bandwidth=self._limits.bandwidth if cap is None else int(cap * MIB),
            paused=control.transfer_paused,
        )
        sender.change(limits)
        self._set_paused("download", control.download_paused, control.who, emit)
        self._set_paused("transfer", control.transfer_paused, control.who, emit)
        if control.download_paused:
            self._may_download.clear()
        else:
            self._may_download.set()
        for retry in control.retry:
            if retry.serial > self._served:
                sender.retry(retry.file, retry.chunk)
        self._served = control.serial
        emit(
            "limits",
            lanes=limits.lanes,
            bandwidth=limits.bandwidth,
            download_paused=control.download_paused,
            transfer_paused=control.transfer_paused,
            who=control.who,
        )

    def _set_paused(self, side: str, paused: bool, who: str, emit: Emit) -> None:
        if paused != self._paused[side]:
            self._paused[side] = paused
            if paused:
                emit("paused", side=side, kind="operator", reason=f"by {who}")
            else:
                emit("continued", side=side)

    async def keep(
        self,
        look: Callable[[], Control],
        sender: Sender,
        emit: Emit,
        *,
        total: int,
        report: Callable[[], Awaitable[None]],
    ) -> None:
        """Look at the control, and report rates and disks, until cancelled."""
        downloaded, moved, at = self.downloaded, sender.moved, self.clock()
        rounds = 0
        while True:
            self.apply(await asyncio.to_thread(look), sender, emit)
            rounds += 1
            if rounds % 5 == 1:
                await report()
            await asyncio.sleep(_LOOK_S)
            seconds = self.clock() - at
            if seconds < _REPORT_S:
                continue
            down, up = (self.downloaded - downloaded) / seconds, (sender.moved - moved) / seconds
            downloaded, moved, at = self.downloaded, sender.moved, self.clock()
            done = min(total, self.already + sender.moved)
            emit(
                "rates",
                download_bytes_per_s=round(down),
                transfer_bytes_per_s=round(up),
                downloaded=self.downloaded,
                transferred=sender.moved,
                bytes=total,
                lanes=sender.lanes,
                limit=self.limit(down, up, sender),
                done=done,
                total=total,
                unit="bytes",
            )

    def limit(self, down: float, up: float, sender: Sender) -> str:
        """Which part holds the relay up: `hub`, `link`, `cap`, `paused` or `none`."""
        if self._paused["transfer"] or self._paused["download"]:
            return "paused"
        cap = sender.limits.bandwidth
        if cap and up > 0.9 * cap:
            return "cap"
        if not sender.waiting:
            return "hub" if down or not up else "none"
        return "link"

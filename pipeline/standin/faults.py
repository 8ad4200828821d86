"""What can go wrong at the stand-in Hub, on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

#: close: end of stream in mid-body. reset: TCP reset. stall: silence. flip: one wrong byte.
#: short: a well-formed answer that is smaller than asked for.
BodyFault = Literal["close", "reset", "stall", "flip", "short"]


class Fault(Struct):
    """A failure that waits for its request.

    Attributes:
        how: what happens to the body; None for a failing status.
        path: end of the repository path it applies to; "" is every path.
        at: byte of the file at which the body fails; a request whose range covers it is hit.
        status: HTTP status to answer instead, when `how` is None.
        retry_after: seconds for the Retry-After header of such an answer.
        times: how often it still happens.
    """

    how: BodyFault | None = None
    path: str = ""
    at: int = 0
    status: int = 0
    retry_after: float | None = None
    times: int = 1


class Faults:
    """The failures still to come; a hit uses one up."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let `fault` happen from now on."""
        self.waiting.append(fault)

    def status(self, path: str) -> Fault | None:
        """The failing status that a request for `path` (URL or repository path) meets."""
        return self._hit(lambda fault: fault.how is None and path.endswith(fault.path))

    def body(self, path: str, start: int, end: int) -> Fault | None:
        """What happens to bytes `start` to `end` (excluded) of `path`, first failing byte first."""
        self.waiting.sort(key=lambda fault: fault.at)
        return self._hit(
            lambda fault: fault.how is not None and path.endswith(fault.path) and start <= fault.at < end
        )

    def _hit(self, matches: Callable[[Fault], bool]) -> Fault | None:
        for fault in self.waiting:
            if fault.times > 0 and matches(fault):
                fault.times -= 1
                return fault
        return None

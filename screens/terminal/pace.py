"""Sending no more than the line takes: the next picture waits until the terminal saw the last one.

Each frame ends in a question every terminal answers (DSR 6, "where is the cursor"). Its answer says that
all bytes before it arrived, so buffers along an SSH connection stay empty and a key shows at once. One
question goes ahead of the first frame: whoever answers that gets time for a whole screen. A
terminal that does not answer the first question within a second is asked no more, unless its answer comes
after all: the first frame is a whole screen, which takes a slow line longer than that.
"""

from __future__ import annotations

from dataclasses import dataclass

QUESTION = "\x1b[6n"

#: Seconds until a terminal that never answered counts as one that cannot.
PATIENCE_S = 1.0
#: Seconds until the answer of one that can counts as lost.
LOST_S = 30.0
#: A frame may take this long on the line, so that a key does not wait longer behind it.
FRAME_S = 0.12
#: Faster lines than this (bytes/s) need no budget.
FAST = 200_000
#: No frame is cut smaller than this (bytes): a row of text with its styles.
LEAST = 300


@dataclass(slots=True)
class Pace:
    """When the next frame may go, and how large it may be. Times are monotonic seconds.

    Attributes:
        rtt: seconds from the last frame to its answer; 0 before the first.
        rate: bytes/s the line was seen to take; 0 while unknown.
        skipped: frames that were not sent because the line was busy.
    """

    rtt: float = 0.0
    rate: float = 0.0
    skipped: int = 0
    _greeted: float | None = None
    _asked: float | None = None
    _bytes: int = 0
    _answers: bool = False
    _off: bool = False

    @property
    def asks(self) -> bool:
        """Whether frames carry the question."""
        return not self._off

    def ready(self, now: float) -> bool:
        """Whether a frame may be sent at `now`."""
        if self._asked is None or self._off:
            return True
        if now - self._asked < (LOST_S if self._answers else PATIENCE_S):
            self.skipped += 1
            return False
        self._off = not self._answers
        if self._answers:
            self._asked = None
        return True

    def retry_in(self, now: float) -> float | None:
        """Seconds until `ready` may change its mind without an answer; None if nothing is awaited."""
        if self._asked is None or self._off:
            return None
        return max(0.0, self._asked + (LOST_S if self._answers else PATIENCE_S) - now)

    def greeted(self, now: float) -> None:
        """Note that the question went out alone; no frame waits for its answer."""
        self._greeted = now

    def sent(self, count: int, now: float) -> None:
        """Note that a frame of `count` bytes with the question went out."""
        self._asked, self._bytes = now, count

    def answered(self, now: float) -> bool:
        """Note an answer, also one that was given up; return whether a question was open."""
        if self._greeted is not None:
            self.rtt, self._greeted, self._answers, self._off = (
                max(now - self._greeted, 1e-4),
                None,
                True,
                False,
            )
            return False
        if self._asked is None:
            return False
        self._off = False
        self.rtt = max(now - self._asked, 1e-4)
        if self._bytes >= LEAST:
            self.rate = self._bytes / self.rtt
        self._answers, self._asked = True, None
        return True

    @property
    def awaiting(self) -> bool:
        """Whether an answer is still to come from a terminal that gives them."""
        return self._asked is not None and self._answers

    def budget(self) -> int | None:
        """About how many bytes the next frame may have; None for any number."""
        if self._off or not 0 < self.rate < FAST:
            return None
        return max(LEAST, int(self.rate * FRAME_S))

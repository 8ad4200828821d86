"""What became of a stream: four different things that must never look alike."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: `present` can be used; `absent` is not there; `unreadable` is there and broken; `silent` can be read and
#: says nothing: sound without sound, a caption that labels no frame, poses that are all NaN.
Status = Literal["present", "absent", "unreadable", "silent"]


class StreamStatus(Struct, frozen=True):
    """The status of one stream, and why it is not simply present.

    `reason` may also qualify a present stream, such as one with some invalid frames.
    """

    status: Status
    reason: str = ""

    @property
    def usable(self) -> bool:
        """Whether its content may be used."""
        return self.status == "present"


PRESENT = StreamStatus("present")


def absent(reason: str) -> StreamStatus:
    """Not there."""
    return StreamStatus("absent", reason)


def unreadable(reason: str) -> StreamStatus:
    """There, and broken."""
    return StreamStatus("unreadable", reason)


def silent(reason: str) -> StreamStatus:
    """Readable, and saying nothing."""
    return StreamStatus("silent", reason)


def first_line(error: BaseException) -> str:
    """The first line of a library's message, bounded."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

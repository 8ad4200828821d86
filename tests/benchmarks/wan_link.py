"""A link with delay and limited rate between two network namespaces, in user space.

    with wan_link(delay_s=0.025, bytes_per_second=125_000_000) as link:
        subprocess.run([*link.client, "ping", "-c1", link.server_address])

Each direction is a TUN device, a queue and a clock. The packets are large (32 KiB), because a Python program
forwards them; TCP's slow start is therefore faster than on Ethernet, for every tool alike. Needs root.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_TUNSETIFF = 0x400454CA
_TUN_NO_INFO = 0x1001
_MTU = 32_000
_QUEUE_BYTES = 16 << 20


class Link(NamedTuple):
    """How to run something on either side."""

    client: tuple[str, ...]
    server: tuple[str, ...]
    server_address: str


@contextmanager
def wan_link(*, delay_s: float, bytes_per_second: int) -> Iterator[Link]:
    """Make the namespaces and forward until the block ends."""
    names = ("xops-client", "xops-server")
    with subprocess.Popen(
        [sys.executable, __file__, *names, str(delay_s), str(bytes_per_second)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forwarder:
        assert forwarder.stdout
        assert forwarder.stdin
        if forwarder.stdout.readline().strip() != "ready":
            raise OSError("no link: this needs root and /dev/net/tun")
        client, server = (("ip", "netns", "exec", name) for name in names)
        try:
            yield Link(client, server, "10.77.0.2")
        finally:
            forwarder.stdin.close()
            forwarder.wait()


def _open(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN_NO_INFO))
    return handle


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, stderr=None if check else subprocess.DEVNULL)


def _forward(source: int, target: int, delay_s: float, rate: int) -> None:
    """One direction: a reader that stamps packets, a writer that waits for their time."""
    waiting: deque[tuple[float, bytes]] = deque()
    arrived = threading.Semaphore(0)

    def read() -> None:
        free_at, queued = time.monotonic(), 0
        while True:
            try:
                packet = os.read(source, 65536)
            except OSError:  # the namespace with the other end is gone: the link is over
                return
            now = time.monotonic()
            queued = int(max(0.0, free_at - now) * rate)
            if queued > _QUEUE_BYTES:
                continue  # the queue of a router is not endless
            free_at = max(now, free_at) + len(packet) / rate
            waiting.append((free_at + delay_s, packet))
            arrived.release()

    threading.Thread(target=read, daemon=True).start()
    while True:
        arrived.acquire()
        due, packet = waiting.popleft()
        rest = due - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        os.write(target, packet)


def _main(client: str, server: str, delay: str, rate: str) -> None:
    for name in (client, server):
        _ip("netns", "del", name, check=False)
        _ip("netns", "add", name)
    handles = []
    for number, name in enumerate((client, server), 1):
        handles.append(_open(f"xops{number}"))
        _ip("link", "set", f"xops{number}", "netns", name)
        inside = ("-n", name)
        _ip(*inside, "addr", "add", f"10.77.0.{number}/24", "dev", f"xops{number}")
        _ip(*inside, "link", "set", f"xops{number}", "mtu", str(_MTU), "up")
        _ip(*inside, "link", "set", "lo", "up")
    for source, target in (handles, handles[::-1]):
        arguments = (source, target, float(delay), int(rate))
        threading.Thread(target=_forward, args=arguments, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    for name in (client, server):
        _ip("netns", "del", name, check=False)


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""xops against rsync, scp, rclone and raw TCP, on the same files, over loopback and an emulated line.

    python tests/benchmarks/bench_transfer.py [--link loopback|wan] [--scale 1.0] [--repeats 3]

Three shapes: one file of 1 GiB, an episode (7 files, ~600 MiB), 200 files of 1 MiB; `--scale` shrinks them.
`wan` is 50 ms round trip and 1 Gbit/s (see `wan_link`), and needs root. Everything is compared byte by byte
after each run, and any difference is an error. xops proves every file by reading it back on the destination;
the others prove nothing, and only `rsync --fsync` waits, as xops does, until the bytes are on
disk. Prints medians: seconds, rate, share of raw 8-stream TCP, ratio to rsync, and xops's
own CPU seconds per GiB and resident memory.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "transfer"), str(HERE)]

from openssh import Sshd  # noqa: E402 - found through the path above
from wan_link import wan_link  # noqa: E402

from pipeline.engine.fingerprint import sha256_of  # noqa: E402

MIB = 1 << 20
SHAPES = {
    "1 GiB file": [1024 * MIB],
    "episode": [500 * MIB, *[20 * MIB] * 4, 10 * MIB, 10 * MIB],
    "200 x 1 MiB": [MIB] * 200,
}

XOPS = """
import asyncio, json, resource, sys
from pathlib import Path
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.sender import Sender
from pipeline.transfer.ssh import SshTarget
source, root, work = map(Path, sys.argv[1:4])
target = SshTarget(address=sys.argv[4], key=sys.argv[5], known_hosts=sys.argv[6])
hashes = json.loads(sys.argv[7])  # known from the Hub before anything is sent
files = [Outgoing(p.name, p.stat().st_size, hashes[p.name]) for p in sorted(source.iterdir())]
async def main():
    async with Sender(target, str(root), work=work, emit=lambda *a, **k: None) as sender:
        await sender.send(files, source)
asyncio.run(main())
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024}))
"""

RAW = """
import os, socket, sys, threading
mode, address, total, streams = sys.argv[1], sys.argv[2], int(sys.argv[3]), 8
if mode == "serve":
    listener = socket.create_server((address, 9797))
    print("ready", flush=True)
    def drain(peer):
        while peer.recv(1 << 20): pass
        peer.sendall(b"x"); peer.close()
    threads = [threading.Thread(target=drain, args=(listener.accept()[0],)) for _ in range(streams)]
    [t.start() for t in threads]; [t.join() for t in threads]
else:
    block = bytes(1 << 20)
    def push(size):
        with socket.create_connection((address, 9797)) as peer:
            while size > 0:
                peer.sendall(block[:size]); size -= len(block)
            peer.shutdown(socket.SHUT_WR); peer.recv(1)
    threads = [threading.Thread(target=push, args=(total // streams,)) for _ in range(streams)]
    [t.start() for t in threads]; [t.join() for t in threads]
"""


class Bench:
    """The tools, on one link."""

    def __init__(
        self, sshd: Sshd, folder: Path, address: str, client: Sequence[str], server: Sequence[str]
    ) -> None:
        self.sshd = sshd
        self.folder = folder
        self.address = address
        self.client = list(client)
        self.server = list(server)
        self.usage: dict[str, float] = {}
        self.hashes: dict[str, str] = {}
        known = sshd.folder / "known_hosts"
        known.write_text(known.read_text().replace("127.0.0.1", address))
        self.ssh = ["-i", sshd.target.key, "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]

    def run(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            [*self.client, *command], check=True, capture_output=True, text=True, cwd=HERE.parents[1]
        )
        return done.stdout

    def raw(self, source: Path, _: Path) -> None:
        total = str(sum(path.stat().st_size for path in source.iterdir()))
        with subprocess.Popen(
            [*self.server, sys.executable, "-c", RAW, "serve", self.address, total],
            stdout=subprocess.PIPE,
        ) as serving:
            assert serving.stdout
            serving.stdout.readline()
            self.run([sys.executable, "-c", RAW, "push", self.address, total])

    def xops(self, source: Path, root: Path) -> None:
        target = self.sshd.target
        login = f"{target.address.split('@')[0]}@{self.address}:{self.sshd.port}"
        work = tempfile.mkdtemp(dir=self.folder)
        told = self.run(
            [
                *(sys.executable, "-c", XOPS, str(source), str(root), work, login),
                *(target.key, target.known_hosts, json.dumps(self.hashes)),
            ]
        )
        self.usage = json.loads(told)

    def rsync(self, source: Path, root: Path) -> None:
        shell = " ".join(["ssh", "-p", str(self.sshd.port), *self.ssh])
        self.run(["rsync", "-aW", "-e", shell, f"{source}/", f"{self.address}:{root}/"])

    def rsync_fsync(self, source: Path, root: Path) -> None:
        """The fair peer of a tool that returns only when everything is on disk."""
        shell = " ".join(["ssh", "-p", str(self.sshd.port), *self.ssh])
        self.run(["rsync", "-aW", "--fsync", "-e", shell, f"{source}/", f"{self.address}:{root}/"])

    def scp(self, source: Path, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        files = [str(path) for path in sorted(source.iterdir())]
        self.run(["scp", "-q", "-P", str(self.sshd.port), *self.ssh, *files, f"{self.address}:{root}/"])

    def rclone(self, source: Path, root: Path) -> None:
        remote = f":sftp,host={self.address},port={self.sshd.port},user=root,key_file={self.sshd.target.key}:"
        self.run(
            ["rclone", "copy", "--transfers", "8", "--sftp-concurrency", "64", str(source), f"{remote}{root}"]
        )


@contextmanager
def bench(link: str, folder: Path) -> Iterator[Bench]:
    """A server reachable over the link."""
    if link == "loopback":
        sshd = Sshd(folder / "sshd")
        sshd.start()
        try:
            yield Bench(sshd, folder, "127.0.0.1", (), ())
        finally:
            sshd.stop()
        return
    with wan_link(delay_s=0.025, bytes_per_second=125_000_000) as made:
        sshd = Sshd(folder / "sshd", address=made.server_address, prefix=made.server)
        sshd.start()
        try:
            yield Bench(sshd, folder, made.server_address, made.client, made.server)
        finally:
            sshd.stop()


def make(folder: Path, sizes: Sequence[int]) -> Path:
    """Files of these sizes, of bytes that no tool can compress."""
    folder.mkdir(parents=True)
    rng = random.Random(7)
    for number, size in enumerate(sizes):
        with (folder / f"file{number:03d}").open("wb") as file:
            for start in range(0, size, MIB):
                file.write(rng.randbytes(min(MIB, size - start)))
    return folder


def same(source: Path, root: Path) -> bool:
    names = sorted(path.name for path in source.iterdir())
    equal, wrong, missing = filecmp.cmpfiles(source, root, names, shallow=False)
    return not wrong and not missing and len(equal) == len(names)


def measure(tool: Callable[[Path, Path], None], source: Path, folder: Path, *, check: bool) -> float:
    root = folder / "destination"
    shutil.rmtree(root, ignore_errors=True)
    os.sync()
    began = time.monotonic()
    tool(source, root)
    seconds = time.monotonic() - began
    if check and not same(source, root):
        sys.exit(f"{tool.__name__}: what arrived is not what was sent")
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--link", choices=["loopback", "wan"], default="loopback")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tools", default="raw,xops,rsync,rsync_fsync,scp,rclone")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name, bench(asked.link, Path(name)) as tools:
        folder = Path(name)
        for shape, sizes in SHAPES.items():
            count = max(
                1, round(len(sizes) * (asked.scale if len(set(sizes)) == 1 and len(sizes) > 1 else 1))
            )
            scale = 1.0 if len(set(sizes)) == 1 and len(sizes) > 1 else asked.scale
            source = make(
                folder / shape.replace(" ", "_"), [max(1, int(size * scale)) for size in sizes[:count]]
            )
            report(shape, source, tools, folder, asked)
            shutil.rmtree(source)


def report(shape: str, source: Path, tools: Bench, folder: Path, asked: argparse.Namespace) -> None:
    size = sum(path.stat().st_size for path in source.iterdir())
    print(f"{shape}: {size / MIB:.0f} MiB over {asked.link}, median of {asked.repeats}")
    tools.hashes = {path.name: sha256_of(path) for path in source.iterdir()}
    found: dict[str, float] = {}
    for name in asked.tools.split(","):
        if name in {"rsync", "rclone", "scp"} and not shutil.which(name):
            print(f"  {name:8} is not installed")
            continue
        tool = getattr(tools, name)
        runs = [measure(tool, source, folder, check=name != "raw") for _ in range(asked.repeats)]
        found[name] = statistics.median(runs)
    for name, seconds in found.items():
        raw = f"{found['raw'] / seconds:6.2f} of raw" if "raw" in found else ""
        rsync = "".join(
            f"{found[peer] / seconds:6.2f} x {peer}" for peer in ("rsync", "rsync_fsync") if peer in found
        )
        own = ""
        if name == "xops":
            per_gib = tools.usage["cpu"] / (size / (1 << 30))
            own = f"  {per_gib:.1f} CPU s/GiB  {tools.usage['rss'] / MIB:.0f} MiB resident"
        print(f"  {name:12}{seconds:7.2f} s {size / MIB / seconds:7.1f} MiB/s {raw} {rsync}{own}")


if __name__ == "__main__":
    main()

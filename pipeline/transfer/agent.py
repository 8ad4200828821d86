"""The program that runs on the destination, one per connection; nothing is installed there.

Its source travels on the command line (`pipeline.transfer.agent_remote`), so it is one file, needs only the
standard library of Python 3.7, and imports nothing of ours. It reads framed binary requests from stdin, in
order, and answers each on stdout with the same header. Whatever a shell's start-up files print comes before
`MAGIC`.

    request, answer:  HEADER = op or status u8, slot u32, offset u64, payload length u32, digest (32 bytes)

All paths are relative to the root of the first request. Every component is opened with O_NOFOLLOW below the
directory before it, so no symbolic link planted on the destination is ever followed; files that have other
hard links are refused. A file is written as `<name>.xops-part` and gets its name only in FINISH or PUT, after
fsync and after the hash of what lies on disk equalled the expected one.
"""

from __future__ import annotations

# No pathlib here: it costs start-up time on a foreign host, and all work is by descriptor.
# ruff: noqa: PTH103, PTH111, PTH120, PTH208
import errno
import hashlib
import os
import stat
import struct
import sys

MAGIC = b"\0XOPS-AGENT-1\0"
HEADER = struct.Struct("<BIQI32s")
#: STAT's answer per path: kind (0 nothing, 1 file, 2 other), size, mtime ns, inode, part's size or -1.
ENTRY = struct.Struct("<BQQQq")
SPACE = struct.Struct("<QQ")  # free bytes, free inodes
RANGE = struct.Struct("<QI")
#: LIST's answer per name: kind (1 file, 2 directory, 3 other), size, length of the name that follows.
NAMED = struct.Struct("<BQH")
NO_DIGEST = bytes(32)
PART = ".xops-part"
STEP = 1 << 20

# Requests. ROOT is no valid first byte of an SFTP packet: an sftp-server in our place gives up at once.
ROOT, OPEN, WRITE, HASHES, ADVANCE, FINISH, PUT, STAT, FREE, DROP, CLOSE, DEMOTE, LIST = (255, *range(2, 14))
# Answers.
OK, ERROR, DIFFERS = 0, 1, 2
# How OPEN finds its file: the part, created if missing; the part, which must exist; the published file.
CREATE, PART_ONLY, FINAL = b"c", b"p", b"f"


class Slot:
    """An open file: its part or final name, and the hash of its first `hashed` bytes."""

    def __init__(self, fd: int, parent: int, name: str) -> None:
        self.fd = fd
        self.parent = parent
        self.name = name
        self.restart()

    def restart(self) -> None:
        """Forget what was hashed."""
        self.sha = hashlib.sha256()
        self.hashed = 0

    def advance(self, end: int) -> None:
        """Hash on to `end`, from disk."""
        while self.hashed < end:
            block = os.pread(self.fd, min(STEP, end - self.hashed), self.hashed)
            if not block:
                raise OSError(errno.EIO, "file is shorter than expected")
            self.sha.update(block)
            self.hashed += len(block)

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.fd)
        os.close(self.parent)


class Request:
    """One request as it came; `offset` is whatever number the operation needs."""

    def __init__(self, slot: int, offset: int, digest: bytes, data: memoryview) -> None:
        self.slot = slot
        self.offset = offset
        self.digest = digest
        self.data = data


class Agent:
    """Answers requests below one root directory."""

    def __init__(self) -> None:
        self.root = -1
        self.slots = {}  # type: dict[int, Slot]
        self.actions = {
            ROOT: self.set_root,
            OPEN: self.open,
            WRITE: self.write,
            HASHES: self.hashes,
            ADVANCE: self.advance,
            FINISH: self.finish,
            PUT: self.put,
            STAT: self.stat,
            FREE: self.free,
            DROP: self.drop,
            CLOSE: self.close,
            DEMOTE: self.demote,
            LIST: self.list,
        }

    def set_root(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Root directory in the payload; made if missing (offset 1) and kept open."""
        path = os.path.expanduser(bytes(ask.data).decode("utf-8", "surrogateescape"))
        if ask.offset:
            os.makedirs(path, exist_ok=True)
        self.root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        return self.free(ask)

    def open(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Bind `slot` to a file of `offset` bytes; the payload is the mode and the path."""
        mode, path = bytes(ask.data[:1]), text(ask.data[1:])
        self.close(ask)
        parent, name = self.walk(path, make=mode == CREATE)
        try:
            if mode == FINAL:
                fd = regular(name, os.O_RDONLY, parent)
            else:
                fd = self.open_part(name + PART, parent, ask.offset, create=mode == CREATE)
        except BaseException:
            os.close(parent)
            raise
        self.slots[ask.slot] = Slot(fd, parent, name)
        return OK, NO_DIGEST, b""

    def open_part(self, name: str, parent: int, size: int, create: bool) -> int:
        """Open a part with room for `size` bytes."""
        fd = regular(name, os.O_RDWR | (os.O_CREAT if create else 0), parent)
        found = os.fstat(fd)
        try:
            if free_space(fd)[0] < size - found.st_blocks * 512:
                raise OSError(errno.ENOSPC, "no room for the whole file")
            if found.st_size != size:
                os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def write(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Write the payload at `offset` if its hash is `digest`."""
        got = hashlib.sha256(ask.data).digest()
        if got != ask.digest:
            return DIFFERS, got, b""
        write_all(self.slot(ask.slot).fd, ask.data, ask.offset)
        return OK, got, b""

    def hashes(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Hash each RANGE of the payload; a range that lies in a hole answers NO_DIGEST."""
        fd = self.slot(ask.slot).fd
        return OK, NO_DIGEST, b"".join(hash_range(fd, *span) for span in RANGE.iter_unpack(ask.data))

    def advance(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Carry the whole-file hash on to `offset`; answers the hash so far.

        What is hashed is also forced to disk, so that little is left for FINISH to wait for.
        """
        found = self.slot(ask.slot)
        found.advance(ask.offset)
        os.fdatasync(found.fd)
        return OK, found.sha.digest(), b""

    def finish(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Fsync, hash to the end (`offset`), and publish if the whole hash is `digest`."""
        found = self.slot(ask.slot)
        os.fsync(found.fd)
        found.advance(ask.offset)
        got = found.sha.digest()
        if got != ask.digest:
            found.restart()
            return DIFFERS, got, b""
        entry = publish(found.parent, found.name)
        self.close(ask)
        return OK, got, entry

    def put(self, ask: Request) -> tuple[int, bytes, bytes]:
        """A whole small file: `offset` is the path's length, then path and bytes; proved like FINISH."""
        parent, name = self.walk(text(ask.data[: ask.offset]), make=True)
        try:
            body = ask.data[ask.offset :]
            fd = self.open_part(name + PART, parent, len(body), create=True)
            try:
                write_all(fd, body, 0)
                os.fsync(fd)
                back = Slot(fd, parent, name)
                back.advance(len(body))
                got = back.sha.digest()
                if got != ask.digest:
                    return DIFFERS, got, b""
                return OK, got, publish(parent, name)
            finally:
                os.close(fd)
        finally:
            os.close(parent)

    def stat(self, ask: Request) -> tuple[int, bytes, bytes]:
        """An ENTRY for each NUL-separated path."""
        return OK, NO_DIGEST, b"".join(self.entry(text(path)) for path in bytes(ask.data).split(b"\0"))

    def entry(self, path: str) -> bytes:
        """What lies at `path`, and how large its part is."""
        try:
            parent, name = self.walk(path, make=False)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return ENTRY.pack(0, 0, 0, 0, -1)
        try:
            return stat_entry(parent, name)
        finally:
            os.close(parent)

    def free(self, ask: Request) -> tuple[int, bytes, bytes]:  # noqa: ARG002 - all actions take it
        """Free bytes and inodes below the root."""
        return OK, NO_DIGEST, SPACE.pack(*free_space(self.root))

    def drop(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Remove the part of a file, and directories that are empty then."""
        path = text(ask.data)
        try:
            parent, name = self.walk(path, make=False)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return OK, NO_DIGEST, b""
        try:
            os.unlink(name + PART, dir_fd=parent)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        finally:
            os.close(parent)
        self.prune(path)
        return OK, NO_DIGEST, b""

    def prune(self, path: str) -> None:
        """Remove the directories of `path` that are empty, innermost first."""
        folder = os.path.dirname(path)
        while folder:
            try:
                parent, name = self.walk(folder, make=False)
                try:
                    os.rmdir(name, dir_fd=parent)
                finally:
                    os.close(parent)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def close(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Forget a slot."""
        found = self.slots.pop(ask.slot, None)
        if found:
            found.close()
        return OK, NO_DIGEST, b""

    def demote(self, ask: Request) -> tuple[int, bytes, bytes]:
        """Make a published file a part again, so that only its wrong ranges are sent."""
        parent, name = self.walk(text(ask.data), make=False)
        try:
            os.close(regular(name, os.O_RDONLY, parent))
            os.rename(name, name + PART, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            os.close(parent)
        return OK, NO_DIGEST, b""

    def list(self, ask: Request) -> tuple[int, bytes, bytes]:
        """NAMED for everything in one directory; the payload is its path, empty for the root."""
        path = text(ask.data)
        here = os.dup(self.root)
        if path:
            parent, name = self.walk(path, make=False)
            try:
                below = open_directory(name, parent)
            finally:
                os.close(parent)
                os.close(here)
            here = below
        try:
            return OK, NO_DIGEST, b"".join(named(name, here) for name in sorted(os.listdir(here)))
        finally:
            os.close(here)

    def slot(self, number: int) -> Slot:
        """The open file of that number."""
        if number not in self.slots:
            raise OSError(errno.EBADF, "slot is not open")
        return self.slots[number]

    def walk(self, path: str, make: bool) -> tuple[int, str]:
        """Open the directory of `path` step by step; returns its descriptor and the file's name."""
        parts = path.split("/")
        for part in parts:
            if part in ("", ".", "..") or len(part) > 240 or part.lower().endswith((".rrd", PART)):
                raise OSError(errno.EPERM, "refused name")
            if any(ord(character) < 32 or ord(character) == 127 for character in part):
                raise OSError(errno.EPERM, "refused name")
        here = os.dup(self.root)
        for part in parts[:-1]:
            try:
                if make:
                    make_directory(part, here)
                below = open_directory(part, here)
            finally:
                os.close(here)
            here = below
        return here, parts[-1]


def make_directory(name: str, parent: int) -> None:
    """Make a directory unless something has that name."""
    try:
        os.mkdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


def open_directory(name: str, parent: int) -> int:
    """Open a directory that is not a symbolic link."""
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ENOTDIR and is_link(name, parent):
            raise OSError(errno.ELOOP, "symbolic link in the path") from None
        raise


def is_link(name: str, parent: int) -> bool:
    """Whether `name` is a symbolic link."""
    return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def regular(name: str, flags: int, parent: int) -> int:
    """Open a plain file that has this one name only."""
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=parent)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EMLINK, "not a plain file of one name")
    return fd


def publish(parent: int, name: str) -> bytes:
    """Give a part its final name, durably; answers the ENTRY of the file."""
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(there.st_mode):
            raise OSError(errno.ELOOP, "something that is no file has this name")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    os.rename(name + PART, name, src_dir_fd=parent, dst_dir_fd=parent)
    os.fsync(parent)
    return stat_entry(parent, name)


def stat_entry(parent: int, name: str) -> bytes:
    """An ENTRY."""
    part = -1
    try:
        found = os.stat(name + PART, dir_fd=parent, follow_symlinks=False)
        part = found.st_size
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return ENTRY.pack(0, 0, 0, 0, part)
    kind = 1 if stat.S_ISREG(found.st_mode) else 2
    return ENTRY.pack(kind, found.st_size, found.st_mtime_ns, found.st_ino, part)


def named(name: str, parent: int) -> bytes:
    """NAMED, and the name."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    kind = 1 if stat.S_ISREG(found.st_mode) else 2 if stat.S_ISDIR(found.st_mode) else 3
    encoded = name.encode("utf-8", "surrogateescape")
    return NAMED.pack(kind, found.st_size, len(encoded)) + encoded


def hash_range(fd: int, offset: int, length: int) -> bytes:
    """Hash of a range on disk; NO_DIGEST if nothing was written there or the file ends before its end."""
    end = offset + length
    try:
        if os.lseek(fd, offset, os.SEEK_DATA) >= end:
            return NO_DIGEST
    except (OSError, AttributeError) as error:
        if getattr(error, "errno", None) == errno.ENXIO:
            return NO_DIGEST
    sha = hashlib.sha256()
    while offset < end:
        block = os.pread(fd, min(STEP, end - offset), offset)
        if not block:
            return NO_DIGEST
        sha.update(block)
        offset += len(block)
    return sha.digest()


def free_space(fd: int) -> tuple[int, int]:
    """Bytes and inodes an ordinary account may still use."""
    state = os.fstatvfs(fd)
    return state.f_bavail * state.f_frsize, state.f_favail


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data`."""
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


def text(data: bytes | memoryview) -> str:
    """A path."""
    return bytes(data).decode("utf-8", "surrogateescape")


def answer(status: int, slot: int, offset: int, digest: bytes, payload: bytes) -> None:
    """Write one answer."""
    data = memoryview(HEADER.pack(status, slot, offset, len(payload), digest) + payload)
    while data:
        data = data[os.write(1, data) :]


def read_into(view: memoryview) -> None:
    """Fill `view` from stdin; ends the process when the other side has gone."""
    while view:
        count = os.readv(0, [view])
        if not count:
            sys.exit(0)
        view = view[count:]


def main() -> None:
    """Answer requests until stdin ends."""
    os.umask(0o022)
    agent, buffer, header = Agent(), bytearray(STEP), bytearray(HEADER.size)
    os.write(1, MAGIC)
    while True:
        read_into(memoryview(header))
        op, slot, offset, length, digest = HEADER.unpack(header)
        if length > len(buffer):
            buffer = bytearray(length)
        payload = memoryview(buffer)[:length]
        read_into(payload)
        try:
            status, got, data = agent.actions[op](Request(slot, offset, digest, payload))
            answer(status, slot, offset, got, data)
        except OSError as error:
            answer(ERROR, slot, error.errno or errno.EIO, NO_DIGEST, str(error.strerror).encode())


if __name__ == "__main__":
    main()

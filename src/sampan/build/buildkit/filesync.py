"""A directory of the client, fetched over its session: the receiving side of fsutil's protocol.

The client sends a STAT for everything, parents first; we ask for the content of regular files by their index in that list;
their DATA comes interleaved, an empty piece ends a file; FIN goes both ways. Paths are the client's word: they are resolved
beneath the destination and never through a symlink, so that no order of entries writes elsewhere.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Sequence
from typing import NamedTuple

from grpclib.client import Channel
from grpclib.const import Cardinality
from multidict import MultiDict

from sampan.build.buildkit.messages import (
    PACKET_DATA,
    PACKET_ERR,
    PACKET_FIN,
    PACKET_REQ,
    PACKET_STAT,
    Packet,
    Stat,
)
from sampan.errors import InvalidArgument
from sampan.linux.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
_OPEN_FILES = 128
# Go's os.FileMode, as the stats carry it
_GO_DIRECTORY, _GO_SYMLINK, _GO_IRREGULAR = 1 << 31, 1 << 27, 1 << 19
_GO_SPECIAL = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | _GO_IRREGULAR
_GO_BITS = ((1 << 23, modes.S_ISUID), (1 << 22, modes.S_ISGID), (1 << 20, modes.S_ISVTX))


class Wanted(NamedTuple):
    """What to fetch: the client's name for the directory, and which part of it (patterns in Docker's language)."""

    name: str
    exclude: Sequence[str] = ()
    follow: Sequence[str] = ()


async def fetch(channel: Channel, wanted: Wanted, destination: str) -> int:
    """Copy the client's directory into `destination`, which exists; gives the number of bytes.

    Raises:
        InvalidArgument: the client refuses, or breaks the protocol.
        ConnectionError, grpclib's errors: the session ended.
    """
    metadata: MultiDict[str] = MultiDict([("dir-name", wanted.name)])
    metadata.extend([("exclude-patterns", pattern) for pattern in wanted.exclude if pattern.isascii()])
    metadata.extend([("followpaths", path) for path in wanted.follow])
    receiver = _Receiver(destination)
    request = channel.request(_DIFF_COPY, Cardinality.STREAM_STREAM, Packet, Packet, metadata=metadata)
    try:
        async with request as stream:
            await stream.send_request()
            while not receiver.done:
                packet = await stream.recv_message()
                if packet is None:
                    raise InvalidArgument(f"the client ended the transfer of {wanted.name} half-way")
                for number in receiver.take(packet):
                    await stream.send_message(Packet(type=PACKET_REQ, ID=number))
            await stream.send_message(Packet(type=PACKET_FIN), end=True)
            while await stream.recv_message() is not None:
                pass
    finally:
        receiver.close()
    return receiver.received_bytes


class _Receiver:
    def __init__(self, destination: str) -> None:
        self._root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._count = 0
        self._listed = False
        self._waiting: list[tuple[int, Stat]] = []
        self._open: dict[int, tuple[int, Stat]] = {}
        self._directories: list[Stat] = []
        self.received_bytes = 0

    @property
    def done(self) -> bool:
        return self._listed and not self._waiting and not self._open

    def close(self) -> None:
        for descriptor, _ in self._open.values():
            os.close(descriptor)
        self._open.clear()
        for entry in reversed(self._directories):  # last, since what was made inside has changed them
            parent, name = self._parent(entry.path)
            os.utime(name, ns=(entry.modTime, entry.modTime), dir_fd=parent, follow_symlinks=False)
            os.close(parent)
        self._directories.clear()
        os.close(self._root)

    def take(self, packet: Packet) -> list[int]:
        """Handle a packet; gives the indices of files to ask for now."""
        if packet.type == PACKET_ERR:
            raise InvalidArgument(packet.data.decode("utf-8", "replace") or "the client cannot send the build context")
        if packet.type == PACKET_STAT:
            if packet.stat is None:
                self._listed = True
            else:
                self._entry(packet.stat)
        elif packet.type == PACKET_DATA:
            self._content(packet)
        return self._ask()

    def _entry(self, entry: Stat) -> None:
        number, self._count = self._count, self._count + 1
        parent, name = self._parent(entry.path)
        try:
            if entry.mode & _GO_DIRECTORY:
                os.mkdir(name, 0o700, dir_fd=parent)
                os.chmod(name, _mode(entry), dir_fd=parent)
                self._directories.append(entry)
            elif entry.mode & _GO_SYMLINK:
                os.symlink(entry.linkname, name, dir_fd=parent)
                os.utime(name, ns=(entry.modTime, entry.modTime), dir_fd=parent, follow_symlinks=False)
            elif entry.linkname:
                source, source_name = self._parent(entry.linkname)
                try:
                    os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
                finally:
                    os.close(source)
            elif not entry.mode & _GO_SPECIAL:  # sockets, pipes and devices are no part of a build context
                self._waiting.append((number, entry))
        except OSError as error:
            raise InvalidArgument(f"the build context cannot be stored: {entry.path}: {error.strerror}") from None
        finally:
            os.close(parent)

    def _parent(self, path: str) -> tuple[int, str]:
        """The directory that holds `path`, opened, and the last name."""
        directory, _, name = path.rpartition("/")
        if name in ("", ".", "..") or path.startswith("/") or "\0" in path:
            raise InvalidArgument(f"the client sent an invalid path: {path!r}")
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            return openat2(self._root, directory or ".", flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), name
        except OSError as error:
            raise InvalidArgument(f"the client sent an invalid path: {path!r}: {error.strerror}") from None

    def _ask(self) -> list[int]:
        asked = []
        while self._waiting and len(self._open) < _OPEN_FILES:
            number, entry = self._waiting.pop(0)
            parent, name = self._parent(entry.path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                self._open[number] = (os.open(name, flags, 0o600, dir_fd=parent), entry)
            except OSError as error:
                raise InvalidArgument(f"the build context cannot be stored: {entry.path}: {error.strerror}") from None
            finally:
                os.close(parent)
            asked.append(number)
        return asked

    def _content(self, packet: Packet) -> None:
        if packet.ID not in self._open:
            raise InvalidArgument("the client sent content that was not asked for")
        descriptor, entry = self._open[packet.ID]
        if packet.data:
            view = memoryview(packet.data)
            self.received_bytes += len(view)
            while view:
                view = view[os.write(descriptor, view) :]
            return
        del self._open[packet.ID]
        os.fchmod(descriptor, _mode(entry))
        os.utime(descriptor, ns=(entry.modTime, entry.modTime))
        os.close(descriptor)


def _mode(entry: Stat) -> int:
    mode = entry.mode & 0o777
    for bit, flag in _GO_BITS:
        if entry.mode & bit:
            mode |= flag
    return mode

"""Write directory trees as tar archives, deterministically: the same tree always gives the same bytes.

Entries come parents first, siblings by the bytes of their names; see `header` for what a header holds. Trees are walked by
descriptors, never following a link, so a container that swaps a directory for a link meanwhile cannot lead us astray.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Protocol

from sampan.linux.syscalls import RESOLVE_NO_XDEV, openat2
from sampan.tar.entry import BLOCK, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry
from sampan.tar.extract import OPAQUE_MARK, OPAQUE_XATTR, WHITEOUT_PREFIX
from sampan.tar.header import END_OF_ARCHIVE, encode

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))


class Writable(Protocol):
    def write(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take all of `data` before returning."""
        ...


def pack_layer(upper_dirfd: int, out: Writable) -> int:
    """Write the overlayfs upper directory `upper_dirfd` as a layer; gives the sum of its files' sizes.

    Whiteouts and opaque directories become the image format's `.wh.` files; overlayfs' own xattrs stay out.
    """
    packer = _Packer(out, overlay=True)
    packer.children(upper_dirfd, b"")
    packer.finish()
    return packer.size_bytes


def pack_tree(
    dirfd: int, name: bytes, out: Writable, *, rename: bytes | None = None, one_file_system: bool = False
) -> int:
    """Write what `name` in `dirfd` is, with all below it, under the name `rename` (default: `name`).

    `name` b"." with `rename` b"" writes the directory's content without an entry for itself.
    With `one_file_system`, a mount appears as an empty directory or file. Gives the sum of sizes.
    """
    packer = _Packer(out, overlay=False)
    if one_file_system:
        packer.device = os.fstat(dirfd).st_dev
    shown = name if rename is None else rename
    if shown:
        packer.item(dirfd, name, shown)
    else:
        fd = os.open(name, _DIRECTORY, dir_fd=dirfd)
        try:
            packer.children(fd, b"")
        finally:
            os.close(fd)
    packer.finish()
    return packer.size_bytes


class _Packer:
    def __init__(self, out: Writable, *, overlay: bool) -> None:
        self._write = out.write
        self._overlay = overlay
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._links: dict[tuple[int, int], bytes] = {}
        self.size_bytes = 0
        self.device: int | None = None  # stay on this file system

    # -- output: small pieces are gathered ------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._write(b"".join(self._pending))
            self._pending.clear()
            self._pending_size = 0

    def finish(self) -> None:
        self._put(END_OF_ARCHIVE)
        self._flush()

    # -- the walk -------------------------------------------------------------------------------------------------------

    def children(self, dirfd: int, prefix: bytes) -> None:
        """All below the directory `dirfd`, whose own name in the archive is `prefix` ("" for the root)."""
        own = os.open(b".", _DIRECTORY, dir_fd=dirfd)  # readable, and with a position of its own
        stack: list[tuple[int, bytes, list[bytes]]] = [(own, prefix, _names(own))]
        try:
            while stack:
                fd, path, names = stack[-1]
                if not names:
                    os.close(stack.pop()[0])
                    continue
                name = names.pop()
                below = self._one(fd, name, _join(path, name))
                if below is not None:
                    stack.append((below, _join(path, name), _names(below)))
        finally:
            for fd, _, _ in stack:
                os.close(fd)

    def item(self, dirfd: int, name: bytes, shown: bytes) -> None:
        """`name` in `dirfd` as `shown`, with all below it."""
        below = self._one(dirfd, name, shown)
        if below is not None:
            try:
                self.children(below, shown)
            finally:
                os.close(below)

    def _one(self, dirfd: int, name: bytes, path: bytes) -> int | None:
        """Write one entry; gives the open directory if it is one. What vanished since it was listed is left out."""
        try:
            found = os.lstat(name, dir_fd=dirfd)
            kind = _KINDS.get(stat.S_IFMT(found.st_mode))
            if kind is None:
                return None  # sockets have no place in a tar (as Docker and GNU tar)
            if self._overlay and kind == CHARACTER and found.st_rdev == 0:
                self._whiteout(path, found.st_mtime_ns)
                return None
            entry = _entry(path, kind, found)
            if self.device is not None and self._is_mount(dirfd, name, found):
                self._put(encode(entry))  # what it is mounted over: an empty directory, an empty file
                return None
            if kind == REGULAR:
                self._file(dirfd, name, entry, found)
            elif kind == DIRECTORY:
                return self._directory(dirfd, name, entry)
            else:
                self._node(dirfd, name, entry, found)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        return None

    def _is_mount(self, dirfd: int, name: bytes, found: os.stat_result) -> bool:
        """Whether another mount starts here. (Files of an overlay may report a device of their own, so that alone does not
        tell.)"""
        if found.st_dev == self.device:
            return False
        try:
            os.close(openat2(dirfd, name, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_XDEV))
        except OSError as error:
            return error.errno == errno.EXDEV
        return False

    def _whiteout(self, path: bytes, mtime_ns: int) -> None:
        parent, slash, name = path.rpartition(b"/")
        mark = Entry(parent + slash + WHITEOUT_PREFIX + name)
        mark.mode = 0
        mark.mtime_ns = mtime_ns - mtime_ns % 1_000_000_000
        self._put(encode(mark))

    def _directory(self, dirfd: int, name: bytes, entry: Entry) -> int:
        fd = os.open(name, _DIRECTORY, dir_fd=dirfd)
        try:
            opaque = self._xattrs(fd, entry)
            self._put(encode(entry))
            if opaque:
                mark = Entry(entry.name + b"/" + OPAQUE_MARK)
                mark.mode = 0
                self._put(encode(mark))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _node(self, dirfd: int, name: bytes, entry: Entry, found: os.stat_result) -> None:
        if self._linked(entry, found):
            return
        if entry.kind == SYMLINK:
            entry.linkname = os.readlink(name, dir_fd=dirfd)
        self._xattrs(f"/proc/self/fd/{dirfd}/{os.fsdecode(name)}", entry, follow_symlinks=False)
        self._put(encode(entry))

    def _file(self, dirfd: int, name: bytes, entry: Entry, found: os.stat_result) -> None:
        if self._linked(entry, found):
            return
        fd = os.open(name, _FILE, dir_fd=dirfd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return
            entry.size = found.st_size
            self.size_bytes += entry.size
            self._xattrs(fd, entry)
            self._put(encode(entry))
            self._content(fd, entry.size)
        finally:
            os.close(fd)

    def _content(self, fd: int, size: int) -> None:
        """Exactly `size` bytes and the padding, whatever a running process does to the file meanwhile."""
        left = size
        while left:
            data = os.read(fd, min(left, _CHUNK))
            if not data:
                data = bytes(min(left, _CHUNK))
            self._put(data)
            left -= len(data)
        if size % 512:
            self._put(bytes(-size % 512))

    def _linked(self, entry: Entry, found: os.stat_result) -> bool:
        """Write a hard link if this inode was written before."""
        if found.st_nlink < 2:
            return False
        key = (found.st_dev, found.st_ino)
        first = self._links.setdefault(key, entry.name)
        if first == entry.name:
            return False
        entry.kind, entry.linkname = HARDLINK, first
        self._put(encode(entry))
        return True

    def _xattrs(self, target: int | str, entry: Entry, *, follow_symlinks: bool = True) -> bool:
        """Collect xattrs into `entry`; gives whether overlayfs says that the directory is opaque."""
        opaque = False
        try:
            keys = os.listxattr(target) if follow_symlinks else os.listxattr(target, follow_symlinks=False)
        except OSError:
            return False
        for key in keys:
            raw = os.fsencode(key)
            try:
                value = os.getxattr(target, key) if follow_symlinks else os.getxattr(target, key, follow_symlinks=False)
            except OSError:
                continue  # removed since the list was made
            if raw.startswith(b"trusted.overlay."):
                opaque = opaque or (self._overlay and raw == OPAQUE_XATTR and value == b"y")
            elif raw != b"security.selinux":
                entry.xattrs = entry.xattrs or {}
                entry.xattrs[raw] = value
        return opaque


def _join(path: bytes, name: bytes) -> bytes:
    return path + name if not path or path.endswith(b"/") else path + b"/" + name


def _names(dirfd: int) -> list[bytes]:
    """What `dirfd` holds, last name first (so that `pop` gives the first)."""
    return sorted((os.fsencode(name) for name in os.listdir(dirfd)), reverse=True)


def _entry(path: bytes, kind: bytes, found: os.stat_result) -> Entry:
    entry = Entry(path, kind)
    entry.mode = stat.S_IMODE(found.st_mode)
    entry.uid = found.st_uid
    entry.gid = found.st_gid
    entry.mtime_ns = found.st_mtime_ns
    if kind in (CHARACTER, BLOCK):
        entry.device_major = os.major(found.st_rdev)
        entry.device_minor = os.minor(found.st_rdev)
    return entry

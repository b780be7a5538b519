"""Descriptors of the directories below one root, by path, so that an entry costs one path component and no walk.

A component is opened with O_NOFOLLOW below its parent's descriptor. Only if that meets a symbolic link, the whole path is
resolved by open_in_root (openat2): links that an image carries lead to where they would lead inside the container, and
never out of the root.
"""

from __future__ import annotations

import errno
import os

from sampan.linux.syscalls import open_in_root
from sampan.tar.entry import TarError, printable

_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """A cache of O_PATH descriptors. `forget()` after anything but an addition changed the tree."""

    def __init__(self, root_fd: int, *, capacity: int = 64) -> None:
        """`root_fd` stays the caller's; at most `capacity` descriptors are open at a time."""
        self.root_fd = root_fd
        self._capacity = capacity
        self._open: dict[bytes, int] = {}

    def get(self, path: bytes, *, create: bool = False) -> int:
        """The directory at the cleaned relative `path` (b"" is the root), valid until the next call of any method.

        `create` makes what is missing (0755, root). Raises OSError (ENOENT, ENOTDIR, ELOOP) as open(2).
        """
        if not path:
            return self.root_fd
        fd = self._open.get(path)
        if fd is not None:
            return fd
        missing = [path]
        while fd is None:
            parent = missing[-1].rpartition(b"/")[0]
            fd = self._open.get(parent) if parent else self.root_fd
            if fd is None:
                missing.append(parent)
        for level in reversed(missing):  # a loop, not recursion: a 4 KB name has 2,000 levels
            fd = self._remember(level, self._open_below(fd, level.rpartition(b"/")[2], level, create))
        return fd

    def _open_below(self, parent_fd: int, name: bytes, path: bytes, create: bool) -> int:
        try:
            return os.open(name, _FLAGS, dir_fd=parent_fd)
        except OSError as error:
            if error.errno == errno.ENOENT and create:
                os.mkdir(name, 0o755, dir_fd=parent_fd)
                return os.open(name, _FLAGS, dir_fd=parent_fd)
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        fd = self._resolve(path)
        if fd is None and create:
            raise TarError(f"{printable(path)} leads through a symbolic link to nowhere")
        if fd is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
        return fd

    def _resolve(self, path: bytes) -> int | None:
        """`path` with its symbolic links followed inside the root."""
        try:
            return open_in_root(self.root_fd, path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return None

    def _remember(self, path: bytes, fd: int) -> int:
        if len(self._open) >= self._capacity:
            oldest = next(iter(self._open))
            os.close(self._open.pop(oldest))
        self._open[path] = fd
        return fd

    def forget(self) -> None:
        """Close and drop everything: names may lead elsewhere now."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    close = forget

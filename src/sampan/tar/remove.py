"""Remove a directory tree without following a link and without recursion, however deep it is."""

from __future__ import annotations

import errno
import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(parent_fd: int, name: bytes) -> None:
    """Remove the directory `name` below `parent_fd` and all that it holds; what vanishes meanwhile is fine.

    Only one descriptor is open at a time: the way up is `..`, which holds because nobody else moves the tree's parts.
    """
    names = [name]
    current = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    pending = [_unlink_files(current)]
    try:
        while pending:
            if pending[-1]:
                child = pending[-1].pop()
                below = os.open(child, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = below
                names.append(child)
                pending.append(_unlink_files(current))
                continue
            pending.pop()
            done = names.pop()
            above = os.dup(parent_fd) if not pending else os.open(b"..", _DIRECTORY, dir_fd=current)
            os.close(current)
            current = above
            _rmdir(done, current)
    finally:
        os.close(current)


def _unlink_files(fd: int) -> list[bytes]:
    """Unlink what is not a directory in `fd`; gives the names of the directories."""
    directories: list[bytes] = []
    with os.scandir(fd) as listing:
        children = [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in listing]
    for name, is_directory in children:
        if is_directory:
            directories.append(name)
            continue
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        except PermissionError:
            _make_mutable(fd, name)
            os.unlink(name, dir_fd=fd)
    return directories


def _rmdir(name: bytes, parent_fd: int) -> None:
    try:
        os.rmdir(name, dir_fd=parent_fd)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _make_mutable(parent_fd: int, name: bytes) -> None:
    """Clear the immutable and append-only flags, which a container with CAP_LINUX_IMMUTABLE may have set."""
    import fcntl
    import struct

    fs_ioc_getflags, fs_ioc_setflags, immutable_or_append = 0x80086601, 0x40086602, 0x10 | 0x20
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        flags = struct.unpack("i", fcntl.ioctl(fd, fs_ioc_getflags, bytes(4)))[0]
        fcntl.ioctl(fd, fs_ioc_setflags, struct.pack("i", flags & ~immutable_or_append))
    finally:
        os.close(fd)

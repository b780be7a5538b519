"""Docker's path stat, which `docker cp` asks for before it copies."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from sampan.errors import NotFound
from sampan.runtime.rootfs_ops.paths import link_target, locate, open_root
from sampan.types.times import rfc3339

# the bits of Go's os.FileMode (io/fs, FileMode) that POSIX has too
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def stat_path(arguments: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """{name, size, mode, mtime, linkTarget} of `path`; a link in the last component is not followed.

    Raises:
        NotFound, InvalidArgument (ENOTDIR on the way).
    """
    root = open_root()
    try:
        return describe(root, arguments["path"])
    finally:
        os.close(root)


def describe(root: int, path: str) -> dict[str, Any]:
    place = locate(root, path)
    try:
        found = os.lstat(place.name, dir_fd=place.parent_fd)
    except FileNotFoundError:
        raise NotFound(f"lstat {path}: no such file or directory") from None
    finally:
        os.close(place.parent_fd)
    return {
        "name": place.shown,
        "size": found.st_size,
        "mode": go_mode(found.st_mode),
        "mtime": rfc3339(found.st_mtime_ns),
        "linkTarget": link_target(root, path) if stat.S_ISLNK(found.st_mode) else "",
    }


def go_mode(mode: int) -> int:
    """A POSIX mode as Go's os.FileMode."""
    result = (mode & 0o777) | _GO_TYPES.get(stat.S_IFMT(mode), 0)
    for posix, go in _GO_BITS:
        if mode & posix:
            result |= go
    return result

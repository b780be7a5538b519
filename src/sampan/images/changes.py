"""What a container changed: its upper directory against its image's layers, without mounting anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from sampan.tar.extract import OPAQUE_XATTR

MODIFIED, ADDED, DELETED = 0, 1, 2
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def changes(upper_dir: str, lower_dirs: Sequence[str]) -> list[tuple[str, int]]:
    """(path, kind) of every change, sorted by path; kind is MODIFIED, ADDED or DELETED (`docker diff`'s C, A, D).

    A directory counts as modified if something in it changed or its own owner, mode or time did. What was made and deleted
    again does not show. Names that are not UTF-8 come with surrogate escapes.
    """
    upper = os.open(upper_dir, _DIRECTORY)
    lowers = [os.open(path, _DIRECTORY) for path in lower_dirs]
    found: list[tuple[bytes, int]] = []
    try:
        _compare(upper, lowers, b"", found)
    finally:
        for fd in (upper, *lowers):
            os.close(fd)
    return sorted((os.fsdecode(path), kind) for path, kind in found)


def _compare(upper: int, lowers: list[int], prefix: bytes, found: list[tuple[bytes, int]]) -> None:
    for name in sorted(map(os.fsencode, os.listdir(upper))):
        path = prefix + b"/" + name
        try:
            status = os.lstat(name, dir_fd=upper)
        except FileNotFoundError:
            continue
        below = _visible(lowers, name)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            if below is not None:
                found.append((path, DELETED))
            continue
        if not stat.S_ISDIR(status.st_mode):
            found.append((path, ADDED if below is None else MODIFIED))
            continue
        position = len(found)
        _descend(upper, lowers, name, path, found)
        changed = len(found) > position or below is None or not _same_directory(status, below)
        if changed:
            found.append((path, ADDED if below is None else MODIFIED))


def _descend(upper: int, lowers: list[int], name: bytes, path: bytes, found: list[tuple[bytes, int]]) -> None:
    own = os.open(name, _DIRECTORY, dir_fd=upper)
    visible: list[int] = []
    try:
        opaque = _is_opaque(own)
        if not opaque:
            _open_visible(lowers, name, visible)
        _compare(own, visible, path, found)
        if opaque:
            _open_visible(lowers, name, visible)
            hidden = {os.fsencode(child) for fd in visible for child in os.listdir(fd)}
            present = set(map(os.fsencode, os.listdir(own)))
            found.extend((path + b"/" + child, DELETED) for child in hidden - present if _visible(visible, child))
    finally:
        for fd in (own, *visible):
            os.close(fd)


def _open_visible(lowers: list[int], name: bytes, into: list[int]) -> None:
    """The directories called `name` that overlayfs would merge: down to the first opaque one or non-directory."""
    for lower in lowers:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=lower)
        except FileNotFoundError:
            continue
        except OSError:
            return
        into.append(fd)
        if _is_opaque(fd):
            return


def _visible(lowers: list[int], name: bytes) -> os.stat_result | None:
    """What `name` is in the merged lower layers; None if it is not there or deleted."""
    for lower in lowers:
        try:
            status = os.lstat(name, dir_fd=lower)
        except FileNotFoundError:
            continue
        return None if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0 else status
    return None


def _same_directory(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) == (
        other.st_mode,
        other.st_uid,
        other.st_gid,
        other.st_mtime_ns,
    )


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False

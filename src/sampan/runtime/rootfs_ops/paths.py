"""Paths as `docker cp` reads them: the directory part is followed through links, the last component is not.

A path that ends in `/` or `/.` means what a link leads to (moby, container/archive.go, `ResolvePath`).
"""

from __future__ import annotations

import errno
import os
import posixpath
from typing import NamedTuple

from sampan.errors import Internal, InvalidArgument, NotFound
from sampan.linux.syscalls import open_in_root

_MAX_LINKS = 255
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Place(NamedTuple):
    """`name` in the open directory `parent_fd` (b"." for what the directory is itself); `shown` for messages and tars."""

    parent_fd: int
    name: bytes
    shown: str


def open_root() -> int:
    return os.open("/", _DIRECTORY | os.O_CLOEXEC)


def locate(root: int, path: str) -> Place:
    """Find what `path` means, without following a link in its last component. Close `parent_fd`.

    Raises:
        NotFound: a directory on the way is missing; the last component may be missing too.
        Internal: something on the way is not a directory.
    """
    absolute = "/" + path.lstrip("/")
    clean = posixpath.normpath(absolute)
    clean = "/" + clean.lstrip("/")
    if absolute.endswith("/.") or absolute == "/.":
        return Place(open_directory(root, clean), b".", ".")
    if clean == "/" or absolute.endswith("/"):
        return Place(open_directory(root, clean), b".", posixpath.basename(clean) or "/")
    parent, _, name = clean.rpartition("/")
    return Place(open_directory(root, parent or "/"), os.fsencode(name), name)


def open_directory(root: int, path: str) -> int:
    """The directory at `path`, all links followed inside the root. Raises NotFound, Internal."""
    try:
        return open_in_root(root, path, _DIRECTORY)
    except OSError as error:
        raise _fault(error, path) from None


def _fault(error: OSError, path: str) -> Exception:
    if error.errno == errno.ENOENT:
        return NotFound(f"lstat {path}: no such file or directory")
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return Internal(f"lstat {path}: {(error.strerror or '').lower()}")  # 500, as Docker
    return error


def link_target(root: int, path: str) -> str:
    """Where the link at `path` leads in the end, as an absolute path of the root, which may not exist."""
    parts = [part for part in ("/" + path).split("/") if part]
    resolved: list[str] = []
    links = 0
    while parts:
        part = parts.pop(0)
        if part == ".":
            continue
        if part == "..":
            del resolved[-1:]
            continue
        target = _readlink(root, resolved, part)
        if target is None:
            resolved.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise InvalidArgument(f"lstat {path}: too many levels of symbolic links")
        if target.startswith("/"):
            resolved = []
        parts = [step for step in target.split("/") if step] + parts
    return "/" + "/".join(resolved)


def _readlink(root: int, directory: list[str], name: str) -> str | None:
    """The target of a link; None for what is no link or not there."""
    try:
        parent = open_in_root(root, "/" + "/".join(directory), _DIRECTORY)
    except OSError:
        return None
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:
        return None
    finally:
        os.close(parent)

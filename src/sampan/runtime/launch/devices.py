"""The container's /dev: standard and requested nodes, links, and the console."""

from __future__ import annotations

import os
import stat
from typing import Any, Final

from sampan.linux import mount as m
from sampan.linux.syscalls import AT_FDCWD, RESOLVE_IN_ROOT, openat2
from sampan.runtime.launch import targets
from sampan.runtime.launch.launch_error import LaunchError

_STANDARD: Final = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("tty", 5, 0), ("random", 1, 8), ("urandom", 1, 9))
_LINKS: Final = (
    ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"), ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"), ("pts/ptmx", "ptmx"),
)  # fmt: skip
_KINDS: Final = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def populate(root: int, devices: list[dict[str, Any]], *, bind: bool) -> None:
    """Make the nodes and links. With `bind` (in a user namespace, where mknod is refused) the host's nodes are bound."""
    directory = targets.open_target(root, "/dev", directory=True)
    try:
        for name, major, minor in _STANDARD:
            entry = {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
            _make(root, directory, entry, bind)
        for entry in devices:
            _make(root, directory, entry, bind)
        for target, name in _LINKS:
            if name == "core" and not os.path.exists("/proc/kcore"):
                continue
            try:
                os.symlink(target, name, dir_fd=directory)
            except FileExistsError:
                continue
    finally:
        os.close(directory)


def _make(root: int, dev: int, entry: dict[str, Any], bind: bool) -> None:
    path = entry["path"]
    parent, _, name = path.rpartition("/")
    if bind:
        tree = m.open_tree(AT_FDCWD, path, clone=True)
        target = targets.open_target(root, path, directory=False)
        m.move_mount(tree, target)
        os.close(target)
        os.close(tree)
        return
    directory = dev if parent == "/dev" else targets.open_target(root, parent or "/", directory=True)
    mode = entry.get("fileMode")
    try:
        number = os.makedev(entry.get("major", 0), entry.get("minor", 0))
        kind = _KINDS.get(entry["type"])
        if kind is None:
            raise LaunchError(f"invalid device type {entry['type']!r} for {path}")
        os.mknod(name, kind | (0o666 if mode is None else mode), number, dir_fd=directory)
        if entry.get("uid") or entry.get("gid"):
            os.chown(name, entry.get("uid") or 0, entry.get("gid") or 0, dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        pass
    finally:
        if directory != dev:
            os.close(directory)


def open_null(root: int) -> int:
    """The container's /dev/null, proven to be the null device and not what an image put in its place."""
    descriptor = openat2(root, "dev/null", os.O_PATH, resolve=RESOLVE_IN_ROOT)
    found = os.fstat(descriptor)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        os.close(descriptor)
        raise LaunchError("/dev/null of the container is not the null device")
    return descriptor


def bind_console(root: int, slave: int) -> None:
    """Put the pty over /dev/console, which must be an ordinary file that we made or find (CVE-2025-52565)."""
    directory = targets.open_target(root, "/dev", directory=True)
    try:
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        if _kind_of("console", directory) is None:
            os.close(os.open("console", flags | os.O_EXCL, 0o600, dir_fd=directory))
        target = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if stat.S_ISLNK(os.fstat(target).st_mode):
                raise LaunchError("/dev/console of the container is a symbolic link")
            tree = m.open_tree(slave, clone=True)
            m.move_mount(tree, target)
            os.close(tree)
        finally:
            os.close(target)
    finally:
        os.close(directory)


def _kind_of(name: str, directory: int) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None

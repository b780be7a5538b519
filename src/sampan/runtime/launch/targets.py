"""Paths inside a root that is being built: opened, and created where they miss, without ever leaving the root."""

from __future__ import annotations

import errno
import os
import stat

from sampan.linux.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, open_in_root, openat2
from sampan.runtime.launch.launch_error import LaunchError

_MAXIMUM_LINKS = 40


def open_target(root: int, path: str, *, directory: bool) -> int:
    """An `O_PATH` descriptor of `path` in `root`; missing directories (0755), and the file, are created.

    Symlinks are followed as if `root` were `/`, dangling ones too: an image whose /etc/resolv.conf points into an empty
    /run gets the file at the end of the link.
    """
    try:
        return open_in_root(root, path, os.O_PATH)
    except FileNotFoundError:
        return _create(root, path, directory)


def exists(root: int, path: str) -> bool:
    """Whether `path` is there in `root`, links followed."""
    try:
        os.close(open_in_root(root, path, os.O_PATH))
    except OSError:
        return False
    return True


def open_ordinary_directory(root: int, path: str) -> int:
    """As `open_target` for `/proc` and `/sys`, which must not be reached through a symlink (CVE-2019-19921)."""
    try:
        return openat2(root, path, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        return _create(root, path, True)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise LaunchError(f'filesystem "{path}" must be mounted on ordinary directory') from None
        raise


def _split(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _create(root: int, path: str, directory: bool) -> int:
    todo = _split(path)
    done: list[str] = []
    links = 0
    while todo:
        name = todo.pop(0)
        if name == "..":
            if done:
                done.pop()
            continue
        parent = open_in_root(root, "/" + "/".join(done), os.O_PATH | os.O_DIRECTORY)
        try:
            link = _make_or_read_link(parent, name, directory or bool(todo))
        finally:
            os.close(parent)
        if link is None:
            done.append(name)
            continue
        links += 1
        if links > _MAXIMUM_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith("/"):
            done = []
        todo = _split(link) + todo
    return open_in_root(root, "/" + "/".join(done), os.O_PATH | os.O_NOFOLLOW)


def _make_or_read_link(parent: int, name: str, directory: bool) -> str | None:
    """Make sure that `name` exists in `parent`; if it is a symlink, where it points to."""
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(name, flags, 0o644, dir_fd=parent))
        return None
    return os.readlink(name, dir_fd=parent) if stat.S_ISLNK(mode) else None

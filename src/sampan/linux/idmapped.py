"""Mounts whose ids are shifted for a user namespace, overlays of such mounts among them.

On disk everything keeps the ids of the image: the same layers, and the same writable layer, serve containers with and
without a user namespace, and a diff, a commit or a copy of a stopped container need not know of it. Needs Linux 5.12
for trees and 5.19 for overlays, and file systems that can (ext4, xfs, btrfs, tmpfs since 6.3).
"""

from __future__ import annotations

import errno
import os

from sampan.linux import mount as m
from sampan.linux.overlay import mount_overlay
from sampan.linux.syscalls import AT_FDCWD
from sampan.linux.user_namespace import FileIdentity


def map_tree(tree: int, userns_fd: int, *, recursive: bool = False, name: str = "") -> None:
    """Shift the ids of the detached mount `tree` by the map of the user namespace: id 0 on disk is its root."""
    try:
        m.mount_setattr(tree, userns_fd=userns_fd, recursive=recursive)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        text = "the file system does not support id-mapped mounts, which a user namespace needs"
        raise OSError(error.errno, text, name) from None


def open_overlay(
    scratch: str,
    lower: list[str],
    *,
    upper: str | None,
    work: str | None,
    userns_fd: int,
    root_uid: int,
    root_gid: int,
    volatile: bool = False,
) -> int:
    """A detached overlay of `lower` (topmost first), all of it seen through the map of the user namespace.

    Called in a mount namespace of the caller's own, whose mounts it covers: overlayfs takes only layers that are
    attached there. `root_uid` and `root_gid` are the host's ids of the namespace's root. `scratch` is a directory to
    mount on. `upper` and `work` lie in one directory.
    """
    trees: list[int] = []
    try:
        for path in lower:
            trees.append(_attach_mapped(path, userns_fd))
        if len(lower) == 1 and upper is None:
            tree = m.open_tree(trees[0], clone=True)
            m.mount_setattr(tree, set_flags=m.MOUNT_ATTR_RDONLY)
            return tree
        places: dict[str, str | None] = {"upper": None, "work": None}
        if upper is not None and work is not None:
            home = os.path.commonpath([upper, work])
            trees.append(_attach_mapped(home, userns_fd))
            inside = f"/proc/self/fd/{trees[-1]}"
            places = {"upper": f"{inside}/{os.path.relpath(upper, home)}",
                      "work": f"{inside}/{os.path.relpath(work, home)}"}  # fmt: skip
        with FileIdentity(root_uid, root_gid):
            paths = [f"/proc/self/fd/{tree}" for tree in trees[: len(lower)]]
            mount_overlay(scratch, paths, **places, readonly=upper is None, volatile=volatile)
        return m.open_tree(AT_FDCWD, scratch, clone=True)
    finally:
        for tree in trees:
            os.close(tree)


def _attach_mapped(path: str, userns_fd: int) -> int:
    tree = m.open_tree(AT_FDCWD, path, clone=True)
    try:
        map_tree(tree, userns_fd, name=path)
        place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            m.move_mount(tree, place)
        finally:
            os.close(place)
    except BaseException:
        os.close(tree)
        raise
    return tree

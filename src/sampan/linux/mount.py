"""Mounts by descriptor: open_tree, fsopen, mount_setattr, move_mount; and the classic calls where they are enough.

No function here resolves a path on its own unless it says so: sources and targets are descriptors that the caller
opened and checked, so nothing can be swapped under a mount between the check and the use.

Sources: mount(2), umount2(2), pivot_root(2), and the mount API's own pages (open_tree(2), fsopen(2), fsconfig(2),
fsmount(2), move_mount(2), mount_setattr(2)). Needs Linux 5.12.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from sampan.linux.syscalls import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    SYS_FSCONFIG,
    SYS_FSMOUNT,
    SYS_FSOPEN,
    SYS_MOUNT,
    SYS_MOUNT_SETATTR,
    SYS_MOVE_MOUNT,
    SYS_OPEN_TREE,
    SYS_PIVOT_ROOT,
    SYS_UMOUNT2,
    syscall,
)

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20

MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 0x01
MOUNT_ATTR_NOSUID: Final = 0x02
MOUNT_ATTR_NODEV: Final = 0x04
MOUNT_ATTR_NOEXEC: Final = 0x08
MOUNT_ATTR_ATIME: Final = 0x70
MOUNT_ATTR_RELATIME: Final = 0x00
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000

_OPEN_TREE_CLONE: Final = 1
_CLOEXEC: Final = os.O_CLOEXEC
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
FSCONFIG_VALUE_BYTES: Final = 256
"""A value that fsconfig(2) takes is shorter than this, counting its final zero."""


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2), by path."""
    syscall(
        f"mount {source or kind} on {target}",
        SYS_MOUNT,
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(kind),
        flags,
        os.fsencode(data) if data else 0,
    )


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), by path; detached by default."""
    syscall(f"umount {target}", SYS_UMOUNT2, os.fsencode(target), flags)


def set_propagation(target: str, flags: int) -> None:
    """Change the propagation of the mount at `target`: one of the `MS_*` propagation flags, `MS_REC` for its tree."""
    syscall(f"set propagation of {target}", SYS_MOUNT, 0, os.fsencode(target), 0, flags, 0)


def open_tree(directory: int, path: str = "", *, clone: bool = False, recursive: bool = False) -> int:
    """A descriptor of the mount at `path` (or of `directory` itself when empty); a detached copy of it if `clone`."""
    flags = _CLOEXEC | (_OPEN_TREE_CLONE if clone else 0) | (AT_RECURSIVE if recursive and clone else 0)
    if not path:
        flags |= AT_EMPTY_PATH
    return syscall(f"open_tree {path}", SYS_OPEN_TREE, directory, os.fsencode(path), flags)


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach the mount that `mount_fd` stands for on the very object that `target_fd` stands for."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", SYS_MOVE_MOUNT, mount_fd, b"", target_fd, b"", flags)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def mount_setattr(
    mount_fd: int,
    *,
    set_flags: int = 0,
    clear_flags: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
    recursive: bool = False,
) -> None:
    """mount_setattr(2) on the mount behind `mount_fd`. Setting any atime mode clears the others, as the call demands."""
    if set_flags & MOUNT_ATTR_ATIME or clear_flags & MOUNT_ATTR_ATIME:
        clear_flags |= MOUNT_ATTR_ATIME
    if userns_fd:
        set_flags |= MOUNT_ATTR_IDMAP
    attributes = _MountAttributes(set_flags, clear_flags, propagation, userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    size = ctypes.sizeof(attributes)
    syscall("mount_setattr", SYS_MOUNT_SETATTR, mount_fd, b"", flags, ctypes.byref(attributes), size)


def new_filesystem(kind: str, options: list[str], *, source: str = "", attributes: int = 0) -> int:
    """A detached mount of a new filesystem of type `kind`; `options` are `key` or `key=value`. Returns its descriptor.

    An option that the kernel refuses raises `OSError` whose filename is the option.
    """
    context = syscall(f"filesystem {kind}", SYS_FSOPEN, os.fsencode(kind), _FSOPEN_CLOEXEC)
    try:
        if source:
            syscall(source, SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, b"source", os.fsencode(source), 0)
        for option in options:
            key, separator, value = os.fsencode(option).partition(b"=")
            if separator:
                syscall(option, SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, key, value, 0)
            else:
                syscall(option, SYS_FSCONFIG, context, _FSCONFIG_SET_FLAG, key, 0, 0)
        syscall(f"create {kind}", SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, 0, 0, 0)
        return syscall(f"fsmount {kind}", SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def pivot_into(root_fd: int) -> None:
    """Make the mount at `root_fd` the root of this mount namespace and let go of the old one; cwd becomes the new `/`.

    Both roots are stacked on one directory for a moment (pivot_root(2), "pivot_root(".", ".")"), so nothing has to be
    created or removed in the new root.
    """
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(root_fd)
        syscall("pivot_root", SYS_PIVOT_ROOT, b".", b".")
        os.fchdir(old)
        # A slave sends no unmounts back to the host; private would leave references to the host's mounts busy.
        set_propagation(".", MS_SLAVE | MS_REC)
        unmount(".", MNT_DETACH)
        os.chdir("/")
    finally:
        os.close(old)


__all__ = [name for name in dir() if name.startswith(("MS_", "MNT_", "MOUNT_ATTR_"))] + [
    "AT_FDCWD", "mount", "mount_setattr", "move_mount", "new_filesystem", "open_tree", "pivot_into",
    "set_propagation", "unmount",
]  # fmt: skip

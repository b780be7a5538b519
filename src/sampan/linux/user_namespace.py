"""User namespaces that exist before the process that will live in them (user_namespaces(7)).

A namespace lives by its descriptor. Made ahead, it can own a network namespace that is furnished before the container
starts, and map the ids of mounts (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
"""

from __future__ import annotations

import ctypes
import os

from sampan.linux import capabilities
from sampan.linux.namespaces import CLONE_NEWUSER, write_id_maps
from sampan.linux.syscalls import clone3

Mappings = list[dict[str, int]]
"""OCI's LinuxIDMapping: containerID, hostID, size."""

_libc = ctypes.CDLL(None, use_errno=True)


def create(uid_mappings: Mappings, gid_mappings: Mappings, *, namespaces: dict[str, int] | None = None) -> list[int]:
    """Descriptors of a new user namespace with these maps, and of the further `namespaces` (name below /proc/<pid>/ns
    → flag) that belong to it. They are the caller's to close.

    Must be called in a single-threaded process. Raises `OSError` if the kernel refuses namespaces or maps.
    """
    flags = CLONE_NEWUSER
    names = ["user", *(namespaces or {})]
    for flag in (namespaces or {}).values():
        flags |= flag
    release, hold = os.pipe2(os.O_CLOEXEC)
    cloned = clone3(flags)
    if cloned.pid == 0:
        os.close(hold)
        os.read(release, 1)
        os._exit(0)
    opened: list[int] = []
    try:
        write_id_maps(cloned.pid, uid_mappings, gid_mappings)
        for name in names:
            opened.append(os.open(f"/proc/{cloned.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
        return opened
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    finally:
        os.close(release)
        os.close(hold)
        os.waitpid(cloned.pid, 0)
        os.close(cloned.pidfd)


def host_id(mappings: Mappings, inside: int) -> int:
    """What `inside` is on the host. Raises `ValueError` when it is not mapped."""
    for one in mappings:
        if one["containerID"] <= inside < one["containerID"] + one["size"]:
            return one["hostID"] + inside - one["containerID"]
    raise ValueError(f"id {inside} has no mapping")


class FileIdentity:
    """Within the block, files are made as `uid` and `gid` (setfsuid(2)) with all capabilities kept: a mount whose ids are
    mapped refuses files of an id that has no place in the map, such as root's of the host."""

    def __init__(self, uid: int, gid: int) -> None:
        self._uid = uid
        self._gid = gid

    def __enter__(self) -> None:
        effective, permitted, inheritable = capabilities.get()
        self._saved = (effective, permitted, inheritable)
        _libc.setfsgid(self._gid)
        _libc.setfsuid(self._uid)
        capabilities.set_(effective, permitted, inheritable)  # a uid other than 0 has lost those about files

    def __exit__(self, *_: object) -> None:
        _libc.setfsuid(0)
        _libc.setfsgid(0)
        capabilities.set_(*self._saved)

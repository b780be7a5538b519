"""Namespaces: their flags, unshare(2), setns(2), and the maps of a user namespace (user_namespaces(7))."""

from __future__ import annotations

import os
from typing import Final

from sampan.linux.syscalls import libc_call

CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# The names that the OCI runtime specification gives them, and the names under /proc/<pid>/ns.
FLAGS: Final[dict[str, int]] = {
    "user": CLONE_NEWUSER,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "mount": CLONE_NEWNS,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}
PROC_NAMES: Final[dict[str, str]] = {
    "user": "user",
    "ipc": "ipc",
    "uts": "uts",
    "network": "net",
    "pid": "pid",
    "mount": "mnt",
    "cgroup": "cgroup",
    "time": "time",
}


def unshare(flags: int) -> None:
    """unshare(2)."""
    libc_call("unshare", "unshare", flags)


def setns(descriptor: int, flags: int = 0) -> None:
    """setns(2): `descriptor` is a namespace file, or a pidfd with the flags of the namespaces to join (Linux 5.8)."""
    libc_call("setns", "setns", descriptor, flags)


def open_namespace(pid: int, name: str) -> int:
    """A descriptor of namespace `name` (a key of `PROC_NAMES`) of process `pid`."""
    return os.open(f"/proc/{pid}/ns/{PROC_NAMES[name]}", os.O_RDONLY | os.O_CLOEXEC)


def same_namespace(pid: int, name: str) -> bool:
    """Whether this process and `pid` share namespace `name`."""
    kind = PROC_NAMES[name]
    ours = os.stat(f"/proc/self/ns/{kind}")
    theirs = os.stat(f"/proc/{pid}/ns/{kind}")
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def write_id_maps(pid: int, uid_mappings: list[dict[str, int]], gid_mappings: list[dict[str, int]]) -> None:
    """Write the maps of the user namespace of `pid`, which the caller is outside of and privileged over.

    The mappings have OCI's keys containerID, hostID, size. `setgroups` stays allowed: the writer is privileged.
    """
    for name, mappings in (("uid_map", uid_mappings), ("gid_map", gid_mappings)):
        if not mappings:
            continue
        text = "".join(f"{one['containerID']} {one['hostID']} {one['size']}\n" for one in mappings)
        # One write: the kernel takes the whole map or nothing.
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

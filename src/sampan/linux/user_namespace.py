"""User namespaces that exist before the process that will live in them (user_namespaces(7)).

A namespace lives by its descriptor. Made ahead, it can own a network namespace that is furnished before the container
starts, and map the ids of mounts (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import NoReturn

from sampan.linux import capabilities
from sampan.linux.namespaces import CLONE_NEWUSER, setns, unshare, write_id_maps
from sampan.linux.syscalls import clone3

Mappings = list[dict[str, int]]
"""OCI's LinuxIDMapping: containerID, hostID, size."""

_libc = ctypes.CDLL(None, use_errno=True)


def create(uid_mappings: Mappings, gid_mappings: Mappings, *, namespaces: dict[str, int] | None = None) -> list[int]:
    """Descriptors of a new user namespace with these maps, and of the further `namespaces` (name below /proc/<pid>/ns
    → flag) that belong to it. They are the caller's to close.

    Must be called in a single-threaded process. Raises `OSError` if the kernel refuses namespaces or maps.
    """
    wanted = namespaces or {}
    with _Holder(CLONE_NEWUSER | sum(wanted.values())) as holder:
        write_id_maps(holder.pid, uid_mappings, gid_mappings)
        return holder.open(["user", *wanted])


def extend(userns_fd: int, namespaces: dict[str, int]) -> list[int]:
    """As `create`, for new `namespaces` of a user namespace that exists; a descriptor of it comes first, too."""
    with _Holder(0, userns_fd, sum(namespaces.values())) as holder:
        return holder.open(["user", *namespaces])


class _Holder:
    """A process that lives in namespaces until they have been opened: those of `flags`, or new ones of an existing user
    namespace."""

    def __init__(self, flags: int, userns_fd: int = -1, unshare_flags: int = 0) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cloned = clone3(flags)
        self.pid, self._pidfd = cloned.pid, cloned.pidfd
        if self.pid == 0:
            self._channel.close()
            _hold(theirs, userns_fd, unshare_flags)
        theirs.close()
        number = int(self._channel.recv(16) or errno.ECHILD)
        if number:
            self.__exit__()
            raise OSError(number, os.strerror(number), "namespaces")

    def open(self, names: list[str]) -> list[int]:
        opened: list[int] = []
        try:
            for name in names:
                opened.append(os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    def __enter__(self) -> _Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        os.waitpid(self.pid, 0)
        os.close(self._pidfd)


def _hold(channel: socket.socket, userns_fd: int, flags: int) -> NoReturn:
    number = 0
    try:
        if userns_fd >= 0:
            setns(userns_fd, CLONE_NEWUSER)
            unshare(flags)
    except OSError as error:
        number = error.errno or errno.EIO
    channel.send(str(number).encode())
    channel.recv(1)  # end of file: the namespaces are held by descriptors now
    os._exit(0)


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

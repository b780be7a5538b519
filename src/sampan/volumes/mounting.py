"""Mounting volumes that have options (`--opt type=… --opt device=… --opt o=…`), as mount(8) would. Blocking."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from sampan.errors import InvalidArgument
from sampan.linux import mount as mounts

_FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}
_IGNORED = frozenset({"rw", "defaults", "suid", "dev", "exec"})


def is_mounted(path: str) -> bool:
    """Whether something is mounted on `path` itself; a bind of the same file system counts too."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(_unescape(line.split(" ", 5)[4]) == path for line in file)


def _unescape(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def mount_volume(name: str, options: Mapping[str, str], target: str) -> None:
    """
    Raises:
        InvalidArgument: the kernel refuses; the text is Docker's.
    """
    kind, device = options["type"], options["device"]
    flags, data = _split(options.get("o", ""))
    if kind.startswith("nfs"):
        data = [_with_address(each) for each in data]
    if flags & mounts.MS_BIND:
        kind = "none"
    try:
        mounts.mount(device, target, kind, flags, ",".join(data))
        if flags & mounts.MS_BIND and flags & mounts.MS_RDONLY:
            mounts.mount("", target, "", flags | mounts.MS_REMOUNT)
    except OSError as error:
        raise InvalidArgument(
            f"failed to mount local volume: mount {device}:{target}"
            f"{', data: ' + ','.join(data) if data else ''}: {(error.strerror or str(error)).lower()}"
        ) from error


def unmount_volume(target: str) -> None:
    """Take the mount off; a busy one goes with its last user."""
    try:
        mounts.unmount(target)
    except OSError:
        if os.path.ismount(target):
            raise


def _split(text: str) -> tuple[int, list[str]]:
    flags, data = 0, []
    for option in filter(None, (part.strip() for part in text.split(","))):
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option not in _IGNORED:
            data.append(option)
    return flags, data


def _with_address(option: str) -> str:
    """The kernel's NFS client takes `addr=` only as a number."""
    key, _, value = option.partition("=")
    if key != "addr":
        return option
    try:
        return f"addr={socket.getaddrinfo(value, None)[0][4][0]}"
    except OSError:
        raise InvalidArgument(f"error resolving passed in network volume address: {value}") from None

"""Network namespaces: make one, look into one, from a thread that comes back home.

A namespace lives as long as a descriptor of it or a process in it; nothing is bind-mounted, so nothing is left behind.
Entering concerns only the calling thread (unshare(2), setns(2)).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TypeVar

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_Result = TypeVar("_Result")


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unshare_network() -> None:
    """Put the calling thread into a new, empty namespace.

    Raises:
        OSError: no privilege, or too many namespaces (ENOSPC).
    """
    _check(_libc.unshare(CLONE_NEWNET))


def enter(fd: int) -> None:
    """Put the calling thread into the namespace that `fd` holds."""
    _check(_libc.setns(fd, CLONE_NEWNET))


def open_current() -> int:
    """A close-on-exec descriptor of the calling thread's namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def open_of(pid: int) -> int:
    """A descriptor of the namespace of process `pid`."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def within(fd: int, action: Callable[[], _Result]) -> _Result:
    """Run `action` in the namespace of `fd`, in the calling thread, which is home again afterwards."""
    home = open_current()
    try:
        enter(fd)
        try:
            return action()
        finally:
            enter(home)
    finally:
        os.close(home)


def create(prepare: Callable[[], _Result]) -> tuple[int, _Result]:
    """A new namespace's descriptor, and what `prepare` gave when run inside."""
    home = open_current()
    try:
        unshare_network()
        try:
            fd = open_current()
            try:
                return fd, prepare()
            except BaseException:
                os.close(fd)
                raise
        finally:
            enter(home)
    finally:
        os.close(home)


def write_sysctl(name: str, value: str) -> bool:
    """Write `net/...` of the calling thread's namespace; False if this kernel lacks it or refuses."""
    try:
        fd = os.open("/proc/sys/" + name, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, value.encode())
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def read_sysctl(name: str) -> str:
    """A sysctl's value without the newline; empty if there is none."""
    try:
        with open("/proc/sys/" + name, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""

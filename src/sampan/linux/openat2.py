"""openat2(2): resolve an untrusted path below a directory without leaving it."""

from __future__ import annotations

import ctypes
import os

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437  # the same number on every architecture (added after the tables were unified)
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: bytes, flags: int, *, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Open `path` relative to `dirfd`, close-on-exec, under the `RESOLVE_*` restrictions; magic links are never followed.

    Raises:
        OSError: as open(2), and ENOSYS before Linux 5.6, EXDEV for an escape, ELOOP for a forbidden link. EAGAIN (a rename
            raced with `..`) is retried.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve | RESOLVE_NO_MAGICLINKS)
    if b"\0" in path:
        raise ValueError("embedded null byte")
    for _ in range(64):
        fd: int = _libc.syscall(_SYS_OPENAT2, dirfd, ctypes.c_char_p(path), ctypes.byref(how), ctypes.c_size_t(24))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (4, 11):  # EINTR, EAGAIN
            break
    raise OSError(number, os.strerror(number), os.fsdecode(path))

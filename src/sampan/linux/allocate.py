"""Room on disk for a file that grows later, fallocate(2)."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_FALLOC_FL_KEEP_SIZE: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def allocate(fd: int, offset: int, size_bytes: int) -> None:
    """Reserve blocks for `size_bytes` from `offset` on; the file's length and content stay.

    Raises:
        OSError: ENOSPC, or EOPNOTSUPP where the file system cannot.
    """
    if _libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE, offset, size_bytes) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

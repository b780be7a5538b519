"""seccomp: load a compiled filter (seccomp(2)); compiling is in `seccomp_compile`."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from sampan.linux.syscalls import SYS_SECCOMP, syscall

_SET_MODE_FILTER: Final = 1


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(bpf: bytes, *, flags: int = 0) -> int:
    """Load the filter `bpf` (an array of `struct sock_filter`) for this thread and its future children.

    Needs no_new_privs or CAP_SYS_ADMIN. Returns what the call returns: 0, or a listener with the flag for one.
    """
    buffer = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // 8, ctypes.addressof(buffer))
    return syscall("seccomp", SYS_SECCOMP, _SET_MODE_FILTER, flags, ctypes.byref(program))


def compile_profile(profile: dict[str, Any]) -> bytes:
    """See `seccomp_compile.compile_profile`, which loads libseccomp: so only here, and only when asked."""
    from sampan.linux import seccomp_compile

    return seccomp_compile.compile_profile(profile)

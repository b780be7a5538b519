"""The gate to the kernel: system calls that Python's `os` does not wrap, each as a function that raises `OSError`.

Everything here goes through `ctypes.PyDLL`, which keeps the GIL during the call. That matters in two ways: a process
created by `clone3` in here owns the GIL (another thread of the parent could otherwise have taken it with it into the
void), and the call costs about half of what `CDLL` costs. None of these calls blocks for long.

Sources: the syscall tables of Linux 6.12, and the man page named in each docstring.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final, NamedTuple

_libc: Final = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_get_errno = ctypes.get_errno
_long = ctypes.c_long

MACHINE: Final = os.uname().machine

# Numbers below 424 differ between architectures; from 424 on they are the same everywhere.
_NUMBERS: Final[dict[str, dict[str, int]]] = {
    "x86_64": {
        "pivot_root": 155, "capget": 125, "capset": 126, "seccomp": 317, "bpf": 321, "keyctl": 250,
        "personality": 135, "ioprio_set": 251, "sched_setattr": 314, "fstatfs": 138, "setresuid": 117,
        "setresgid": 119, "setgroups": 116, "mount": 165, "umount2": 166, "madvise": 28,
    },
    "aarch64": {
        "pivot_root": 41, "capget": 90, "capset": 91, "seccomp": 277, "bpf": 280, "keyctl": 219,
        "personality": 92, "ioprio_set": 30, "sched_setattr": 274, "fstatfs": 44, "setresuid": 147,
        "setresgid": 149, "setgroups": 159, "mount": 40, "umount2": 39, "madvise": 233,
    },
}  # fmt: skip
_HERE = _NUMBERS.get(MACHINE, _NUMBERS["x86_64"])

SYS_PIVOT_ROOT: Final = _HERE["pivot_root"]
SYS_CAPGET: Final = _HERE["capget"]
SYS_CAPSET: Final = _HERE["capset"]
SYS_SECCOMP: Final = _HERE["seccomp"]
SYS_BPF: Final = _HERE["bpf"]
SYS_KEYCTL: Final = _HERE["keyctl"]
SYS_PERSONALITY: Final = _HERE["personality"]
SYS_IOPRIO_SET: Final = _HERE["ioprio_set"]
SYS_SCHED_SETATTR: Final = _HERE["sched_setattr"]
SYS_FSTATFS: Final = _HERE["fstatfs"]
SYS_MOUNT: Final = _HERE["mount"]
SYS_UMOUNT2: Final = _HERE["umount2"]
SYS_MADVISE: Final = _HERE["madvise"]
SYS_OPEN_TREE: Final = 428
SYS_MOVE_MOUNT: Final = 429
SYS_FSOPEN: Final = 430
SYS_FSCONFIG: Final = 431
SYS_FSMOUNT: Final = 432
SYS_FSPICK: Final = 433
SYS_CLONE3: Final = 435
SYS_CLOSE_RANGE: Final = 436
SYS_OPENAT2: Final = 437
SYS_MOUNT_SETATTR: Final = 442

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_RECURSIVE: Final = 0x8000
AT_EMPTY_PATH: Final = 0x1000

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

O_PATH: Final = os.O_PATH if sys.platform == "linux" else 0

PROC_SUPER_MAGIC: Final = 0x9FA0
SYSFS_MAGIC: Final = 0x62656572
CGROUP2_SUPER_MAGIC: Final = 0x63677270
TMPFS_MAGIC: Final = 0x01021994
OVERLAYFS_SUPER_MAGIC: Final = 0x794C7630


def syscall(what: str, number: int, *arguments: object) -> int:
    """`syscall(2)`. `what` names the operation in the `OSError` that a failure raises.

    Integers travel as C `long`; bytes and ctypes objects as pointers.
    """
    converted = [_long(argument) if type(argument) is int else argument for argument in arguments]
    result: int = _syscall(_long(number), *converted)
    if result == -1:
        number = _get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def libc_call(what: str, name: str, *arguments: object) -> int:
    """A function of libc that answers -1 and `errno`, under the same rules as `syscall`."""
    result: int = getattr(_libc, name)(*arguments)
    if result == -1:
        number = _get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(directory: int, path: str | bytes, flags: int, *, resolve: int = 0, mode: int = 0) -> int:
    """openat2(2); always `O_CLOEXEC`. The kernel retries of `EAGAIN` (a rename raced with `..`) are done here."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    raw = os.fsencode(path)
    for _ in range(128):
        try:
            return syscall(os.fsdecode(raw), SYS_OPENAT2, directory, raw, ctypes.byref(how), ctypes.sizeof(how))
        except BlockingIOError:
            continue
        except InterruptedError:
            continue
    raise OSError(11, "path keeps changing while it is resolved", os.fsdecode(raw))


def open_in_root(root: int, path: str | bytes, flags: int, *, mode: int = 0) -> int:
    """Open `path` as if `root` were `/`: neither `..` nor any symlink leads out of it, magic links are refused."""
    return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, mode=mode)


def filesystem_type(descriptor: int) -> int:
    """The magic number of the filesystem that `descriptor` lies on (fstatfs(2)); works for `O_PATH` descriptors."""
    buffer = ctypes.create_string_buffer(120)
    syscall("fstatfs", SYS_FSTATFS, descriptor, buffer)
    return int.from_bytes(buffer.raw[:8], sys.byteorder) & 0xFFFFFFFF


class CloneArguments(ctypes.Structure):
    """`struct clone_args` of clone3(2)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


class Cloned(NamedTuple):
    """What `clone3` returned: in the child `pid` is 0 and `pidfd` is -1."""

    pid: int
    pidfd: int


CLONE_PIDFD: Final = 0x1000
CLONE_PARENT: Final = 0x8000
CLONE_INTO_CGROUP: Final = 0x2_0000_0000


def clone3(flags: int, *, exit_signal: int = 17, cgroup_fd: int | None = None) -> Cloned:
    """clone3(2) with the meaning of fork: the child continues here with a copy of the memory. A pidfd always comes.

    The caller must be single-threaded, or the child must not touch what other threads may have locked. With
    `CLONE_PARENT` in flags the exit signal is the parent's own, as the kernel demands.
    """
    pidfd = ctypes.c_int(-1)
    arguments = CloneArguments(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd))
    if not flags & CLONE_PARENT:
        arguments.exit_signal = exit_signal
    if cgroup_fd is not None:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    pid = syscall("clone3", SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    return Cloned(pid, pidfd.value if pid else -1)


CLOSE_RANGE_CLOEXEC: Final = 4


def close_range(first: int, last: int = 0xFFFFFFFF, *, cloexec: bool = False) -> None:
    """close_range(2): close, or mark close-on-exec, every descriptor from `first` to `last`."""
    syscall("close_range", SYS_CLOSE_RANGE, first, last, CLOSE_RANGE_CLOEXEC if cloexec else 0)

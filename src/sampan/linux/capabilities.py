"""Capabilities of the calling thread: capget(2), capset(2), the bounding and ambient sets (capabilities(7))."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from sampan.linux.process import prctl
from sampan.linux.syscalls import SYS_CAPGET, SYS_CAPSET, syscall

NAMES: Final[tuple[str, ...]] = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
"""Every capability, at its number (include/uapi/linux/capability.h)."""

NUMBERS: Final[dict[str, int]] = {name: number for number, name in enumerate(NAMES)}

_VERSION_3: Final = 0x20080522
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


def mask_of(names: list[str]) -> int:
    """The bits of `names`; names that this table does not know are left out, as runc does."""
    mask = 0
    for name in names:
        number = NUMBERS.get(name)
        if number is not None:
            mask |= 1 << number
    return mask


def names_of(mask: int) -> list[str]:
    """The names of the bits of `mask`, in numerical order."""
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


def get() -> tuple[int, int, int]:
    """The thread's effective, permitted and inheritable sets as bit masks."""
    header = struct.pack("Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    syscall("capget", SYS_CAPGET, header, data)
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("6I", data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def set_(effective: int, permitted: int, inheritable: int) -> None:
    """Set the thread's three sets."""
    header = struct.pack("Ii", _VERSION_3, 0)
    low = 0xFFFFFFFF
    data = struct.pack(
        "6I", effective & low, permitted & low, inheritable & low, effective >> 32, permitted >> 32, inheritable >> 32
    )
    syscall("capset", SYS_CAPSET, header, data)


def limit_bounding(keep: int) -> None:
    """Drop every capability that is not in `keep` from the bounding set. Needs CAP_SETPCAP."""
    for number in range(len(NAMES)):
        if not keep >> number & 1:
            try:
                prctl(_PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != 22:  # EINVAL: this kernel is older than the capability
                    raise


def bounding() -> int:
    """The thread's bounding set as a bit mask."""
    mask = 0
    for number in range(len(NAMES)):
        try:
            mask |= prctl(_PR_CAPBSET_READ, number) << number
        except OSError:
            break
    return mask


def set_ambient(mask: int) -> None:
    """Make the ambient set equal `mask`; bits that are not both permitted and inheritable are left out."""
    try:
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        return
    for number in range(len(NAMES)):
        if mask >> number & 1:
            try:
                prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)
            except OSError:
                continue  # not permitted or not inheritable: as runc, it stays out

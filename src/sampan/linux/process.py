"""What a process can do to itself: prctl(2), keyring, an interpreter that no container can overwrite."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from typing import Final

from sampan.linux.mount import MOUNT_ATTR_RDONLY, mount_setattr, open_tree
from sampan.linux.syscalls import AT_FDCWD, SYS_KEYCTL, SYS_PERSONALITY, close_range, libc_call, syscall

_PR_SET_PDEATHSIG: Final = 1
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_SIGKILL: Final = 9

__all__ = [
    "argument_area",
    "close_range",
    "die_with_parent",
    "execute_interpreter",
    "get_dumpable",
    "join_session_keyring",
    "open_interpreter",
    "personality",
    "prctl",
    "set_child_subreaper",
    "set_dumpable",
    "set_keep_capabilities",
    "set_name",
    "set_no_new_privileges",
    "set_parent_death_signal",
    "set_subreaper",
    "set_title",
]


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return libc_call(f"prctl {option}", "prctl", option, *padded)


def set_dumpable(dumpable: bool) -> None:
    """Whether others of the same uid may ptrace this process and open its `/proc/<pid>` files. execve(2) resets it."""
    prctl(_PR_SET_DUMPABLE, int(dumpable))


def get_dumpable() -> bool:
    return prctl(_PR_GET_DUMPABLE) == 1


def set_keep_capabilities(keep: bool) -> None:
    """Keep the permitted set when the uid changes from 0."""
    prctl(_PR_SET_KEEPCAPS, int(keep))


def set_no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_child_subreaper() -> None:
    """Orphaned descendants become children of this process."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


set_subreaper = set_child_subreaper


def set_parent_death_signal(number: int) -> None:
    """Get signal `number` when the thread that created this process ends; 0 switches it off."""
    prctl(_PR_SET_PDEATHSIG, number)


def die_with_parent(parent_pid: int) -> None:
    """Be killed when `parent_pid`, which forked this process, ends; at once if it has already."""
    set_parent_death_signal(_SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the kernel knew what we want
        os._exit(1)


def set_name(name: str) -> None:
    """The name that `ps` and `top` show; the first 15 bytes of it."""
    libc_call("prctl PR_SET_NAME", "prctl", _PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def argument_area() -> tuple[int, int]:
    """Where this process's command line lies in its memory: (address, bytes). proc_pid_stat(5), fields 48 and 49."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    return start, end - start


def set_title(area: tuple[int, int], arguments: list[str]) -> None:
    """Show `arguments` as this process's command line, cut at what fits into `area` (of `argument_area`, also an
    ancestor's that did not execve since)."""
    address, size = area
    text = b"\0".join(os.fsencode(each) for each in arguments)[: size - 1]
    ctypes.memmove(address, text.ljust(size, b"\0"), size)


def join_session_keyring(name: str) -> None:
    """A session keyring of our own, so that keys of the host's session stay out of reach. Absent keyrings are fine."""
    try:
        syscall("keyctl", SYS_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, name.encode(), 0, 0, 0)
    except OSError as error:
        # EDQUOT: the user has too many keyrings. A container without a keyring of its own shares none of ours:
        # the caller has called this for the engine's own processes too, so refusing to start would only harm.
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT, errno.EACCES):
            raise


def personality(persona: int) -> None:
    """personality(2)."""
    syscall("personality", SYS_PERSONALITY, persona)


def open_interpreter(path: str | None = None) -> int:
    """A descriptor of the running interpreter (or of `path`) that cannot be used to write to it, ever.

    A process that enters a container can be made to execute `/proc/self/exe`, which the container may then open and
    overwrite (CVE-2019-5736). The file behind this descriptor refuses that: it lies on a detached read-only mount, or,
    where mounts are not allowed, is a sealed copy in memory.
    """
    executable = path or os.readlink("/proc/self/exe")
    try:
        descriptor = open_tree(AT_FDCWD, executable, clone=True)
    except OSError:
        return _sealed_copy(executable)
    try:
        mount_setattr(descriptor, set_flags=MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(descriptor)
        return _sealed_copy(executable)
    return descriptor


def _sealed_copy(path: str) -> int:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    copy = os.memfd_create("sampan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        while os.sendfile(copy, source, None, 1 << 24):
            pass
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, 15)  # SEAL | SHRINK | GROW | WRITE
    except OSError:
        os.close(copy)
        raise
    finally:
        os.close(source)
    return copy


def execute_interpreter(arguments: list[str], environment: dict[str, str]) -> None:
    """Replace this process by `python arguments...`, run from `open_interpreter()`. Returns only by raising.

    argv[0] is `sys.executable`, from which Python finds its prefix and its virtual environment.
    """
    descriptor = open_interpreter()
    os.execve(descriptor, [sys.executable, *arguments], environment)

"""The default seccomp profile in force: what a process gets from the kernel for calls that must not work, or must."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable

import pytest

from sampan.engine.oci.runtime_config import DEFAULT_CAPABILITIES
from sampan.linux import process, seccomp, seccomp_compile, seccomp_default

pytestmark = pytest.mark.skipif(
    not seccomp_compile.available() or platform.machine() != "x86_64", reason="needs libseccomp, and x86_64 numbers"
)
_SOCKET, _CLONE, _PTRACE, _MOUNT, _INIT_MODULE, _ADD_KEY, _KEYCTL = 41, 56, 101, 165, 175, 248, 250
_UNSHARE, _SETNS, _BPF, _USERFAULTFD, _IO_URING_SETUP, _CLONE3 = 272, 308, 321, 323, 425, 435
_NEWUSER = 0x10000000
_libc = ctypes.CDLL(None, use_errno=True)


def outcome(number: int, *arguments: int, capabilities: list[str] | None = None) -> int:
    """errno of the call (0: it worked) in a process under the profile for `capabilities` (Docker's by default)."""
    granted = list(DEFAULT_CAPABILITIES) if capabilities is None else capabilities
    program = seccomp.compile_profile(seccomp_default.profile(granted))

    def work() -> int:
        process.set_no_new_privileges()
        seccomp.install(program)
        result = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(one) for one in arguments))
        return ctypes.get_errno() if result == -1 else 0

    return _in_child(work)


def _in_child(work: Callable[[], int]) -> int:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = -1
        try:
            code = work()
        finally:
            os.write(writing, struct.pack("i", code))
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read(4)
    os.waitpid(child, 0)
    return int(struct.unpack("i", answer)[0])


@pytest.mark.parametrize("family", [38, 40], ids=["AF_ALG", "AF_VSOCK"])
def test_socket_families_that_are_closed(family: int) -> None:
    assert outcome(_SOCKET, family, 1, 0) == errno.EPERM


@pytest.mark.parametrize("family", [1, 2, 10, 16], ids=["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"])
def test_socket_families_that_are_open(family: int) -> None:
    assert outcome(_SOCKET, family, 2, 0) == 0


@pytest.mark.parametrize("family", [39, 41, 44], ids=["AF_NFC", "AF_KCM", "AF_XDP"])
def test_other_socket_families_are_the_kernels_business(family: int) -> None:
    assert outcome(_SOCKET, family, 1, 0) != errno.EPERM


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (_UNSHARE, (_NEWUSER,)),
        (_CLONE, (_NEWUSER | 17, 0, 0, 0, 0)),
        (_SETNS, (0, 0)),
        (_MOUNT, (0, 0, 0, 0, 0)),
        (_BPF, (0, 0, 0)),
        (_KEYCTL, (0, 0, 0, 0, 0)),
        (_ADD_KEY, (0, 0, 0, 0, 0)),
        (_INIT_MODULE, (0, 0, 0)),
        (_USERFAULTFD, (0,)),
        (_IO_URING_SETUP, (1, 0)),
    ],
)
def test_calls_that_are_closed(number: int, arguments: tuple[int, ...]) -> None:
    assert outcome(number, *arguments) == errno.EPERM


def test_clone3_is_absent_so_that_libraries_use_clone() -> None:
    assert outcome(_CLONE3, 0, 0) == errno.ENOSYS


def test_tracing_children_is_open() -> None:
    assert outcome(_PTRACE, 0, 0, 0, 0) == 0


@pytest.mark.parametrize(
    ("number", "arguments", "capability"),
    [
        (_MOUNT, (0, 0, 0, 0, 0), "CAP_SYS_ADMIN"),
        (_SETNS, (-1, 0), "CAP_SYS_ADMIN"),
        (_UNSHARE, (0,), "CAP_SYS_ADMIN"),
        (_CLONE3, (0, 0), "CAP_SYS_ADMIN"),
        (_BPF, (-1, 0, 0), "CAP_BPF"),
    ],
)
def test_capabilities_open_their_calls(number: int, arguments: tuple[int, ...], capability: str) -> None:
    found = outcome(number, *arguments, capabilities=[*DEFAULT_CAPABILITIES, capability])
    assert found not in (errno.EPERM, errno.ENOSYS)


@pytest.mark.parametrize("number", [_KEYCTL, _IO_URING_SETUP, _USERFAULTFD])
def test_no_capability_opens_these(number: int) -> None:
    from sampan.linux.capabilities import NAMES as CAPABILITIES

    assert outcome(number, 0, 0, 0, 0, 0, capabilities=list(CAPABILITIES)) == errno.EPERM

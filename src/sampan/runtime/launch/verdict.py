"""How a new process tells the one that made it that only execve is left, or what went wrong.

Parent and child talk over one SOCK_SEQPACKET pair. `D` brings descriptors (unix(7), SCM_RIGHTS), each named by a further
letter: `c` the console, `r` the container's root. `R` is success. Anything else is an encoded error (`launch_error`), and
end of file without either means that the process was killed.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Final, NamedTuple

from sampan.linux import pidfd as pidfds
from sampan.linux.syscalls import Cloned
from sampan.runtime.launch import launch_error
from sampan.runtime.launch.launch_error import LaunchError

_READY: Final = b"R"
_DESCRIPTORS: Final = b"D"
_CONSOLE: Final = ord("c")
_ROOT: Final = ord("r")


class Launched(NamedTuple):
    """A running process. The descriptors are the caller's to close: `pidfd`; for a terminal `console`, the pty's master;
    for a container's first process `root`, an `O_PATH` descriptor.

    While `root` is open, the end of the container does not unmount its overlay, for which the kernel writes the whole
    file system below the upper directory to disk, and only then reports the end.
    """

    pid: int
    pidfd: int
    console: int | None = None
    root: int | None = None


def hand_over(channel: socket.socket, console: int | None, root: int | None = None) -> None:
    """Give the parent the terminal and the root. Closes `console`.

    Before limits and capabilities are the container's: the kernel refuses (ETOOMANYREFS) if more descriptors of this user
    are on their way, in all processes, than RLIMIT_NOFILE of this one says.
    """
    named = {_CONSOLE: console, _ROOT: root}
    given = {letter: descriptor for letter, descriptor in named.items() if descriptor is not None}
    if given:
        socket.send_fds(channel, [_DESCRIPTORS + bytes(given)], list(given.values()))
    if console is not None:
        os.close(console)


def announce(channel: socket.socket) -> None:
    """Tell the parent that only execve is left."""
    channel.send(_READY)


def await_ready(channel: socket.socket, cloned: Cloned) -> Launched:
    """Wait for the child's verdict; on an error reap the child and raise it."""
    given: dict[int, int] = {}
    message, descriptors = _receive(channel)
    if message[:1] == _DESCRIPTORS:
        given = dict(zip(message[1:], descriptors, strict=True))
        message, _ = _receive(channel)
    if message == _READY:
        return Launched(cloned.pid, cloned.pidfd, given.get(_CONSOLE), given.get(_ROOT))
    for descriptor in given.values():
        os.close(descriptor)
    try:
        signal.pidfd_send_signal(cloned.pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    status = pidfds.reap(cloned.pidfd)
    os.close(cloned.pidfd)
    if message:
        raise launch_error.decode(message)
    raise LaunchError(f"the container's process was killed during its start (exit code {status.exit_code})")


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    try:
        message, descriptors, _, _ = socket.recv_fds(channel, 16384, 2, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    return message, list(descriptors)

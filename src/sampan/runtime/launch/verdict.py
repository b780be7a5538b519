"""How a new process tells the one that made it that only execve is left, or what went wrong.

Parent and child talk over one SOCK_SEQPACKET pair. `R` is success; each further letter names a descriptor that comes
along (unix(7), SCM_RIGHTS): `c` the console, `r` the container's root. Anything else is an encoded error (`launch_error`),
and end of file without either means that the process was killed.
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


def announce(channel: socket.socket, console: int | None, root: int | None = None) -> None:
    """Tell the parent that only execve is left, and hand it the terminal and the root. Closes `console`."""
    named = {_CONSOLE: console, _ROOT: root}
    given = {letter: descriptor for letter, descriptor in named.items() if descriptor is not None}
    message = _READY + bytes(given)
    if given:
        socket.send_fds(channel, [message], list(given.values()))
    else:
        channel.send(message)
    if console is not None:
        os.close(console)


def await_ready(channel: socket.socket, cloned: Cloned) -> Launched:
    """Wait for the child's verdict; on an error reap the child and raise it."""
    try:
        message, descriptors, _, _ = socket.recv_fds(channel, 16384, 2, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        message, descriptors = b"", []
    if message[:1] == _READY:
        given = dict(zip(message[1:], descriptors, strict=True))
        return Launched(cloned.pid, cloned.pidfd, given.get(_CONSOLE), given.get(_ROOT))
    try:
        signal.pidfd_send_signal(cloned.pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    status = pidfds.reap(cloned.pidfd)
    os.close(cloned.pidfd)
    if message:
        raise launch_error.decode(message)
    raise LaunchError(f"the container's process was killed during its start (exit code {status.exit_code})")

"""A process cloned ahead of the need, to become a container's first one when its orders come.

It waits in new pid, ipc and uts namespaces, which most containers want. The mount namespace is made when the orders have
come: a copy of the host's mounts that was made earlier would miss what has been mounted since. What cannot be changed
once it is cloned (its cgroup on v2, other namespaces, a user namespace) is not for a reserve: `fits` says so, and the
caller clones as if there were none.

Orders are one message (see `protocol`): the container's description, the seccomp filter as the blob, and the descriptors
of stdio, of the namespaces to join, and of the files that move the process into its control groups. Without orders, at
the end of the conversation, the process ends.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from sampan.linux.memory import Range, populate
from sampan.linux.namespaces import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, unshare
from sampan.linux.process import close_range
from sampan.linux.syscalls import Cloned, clone3
from sampan.runtime import protocol
from sampan.runtime.launch import launch_error
from sampan.runtime.launch.container import Child

_NAMESPACES: Final = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS


class Reserve:
    def __init__(self, cloned: Cloned, channel: socket.socket) -> None:
        self.cloned = cloned
        self.channel = channel
        self._ordered = False

    def fits(self, child: Child, flags: int) -> bool:
        """Whether it can become `child`, which wants new namespaces `flags`."""
        return flags == _NAMESPACES | CLONE_NEWNS and child.can_be_ordered

    def order(self, child: Child) -> bool:
        """Have it become `child`; its verdict comes as `verdict.await_ready` expects it, and `cloned.pidfd` is the
        caller's from here on. False if it is dead."""
        body, fds, seccomp = child.to_orders()
        try:
            protocol.send(self.channel, body, blob=seccomp, fds=fds)
        except OSError:
            return False
        self._ordered = True
        return True

    def dismiss(self) -> None:
        """Have it end, and take it from the process table, unless it got orders."""
        self.channel.close()
        if not self._ordered:
            os.close(self.cloned.pidfd)
            os.waitpid(self.cloned.pid, 0)


def make(hot: list[Range]) -> Reserve | None:
    """A waiting process with its own copy of the memory `hot`; None where namespaces cannot be made (they are scarce, or
    we have no privileges). Must be called in a single-threaded process."""
    ours, theirs = protocol.pair()
    try:
        cloned = clone3(_NAMESPACES)
    except OSError:
        ours.close()
        theirs.close()
        return None
    if cloned.pid == 0:
        _serve(theirs, hot)
    theirs.close()
    return Reserve(cloned, ours)


def _serve(channel: socket.socket, hot: list[Range]) -> None:
    """In the new process; never returns."""
    try:
        _keep_only(channel.fileno())
        populate(hot)
        orders = protocol.receive(channel)
        if orders is not None:
            child = Child.from_orders(orders.body, orders.fds, orders.blob, channel)
            unshare(CLONE_NEWNS)
            child.run()
    except BaseException as error:
        try:
            channel.send(launch_error.encode(error))
        except OSError:
            pass  # who asked is gone, and nobody else wants to know
    finally:
        os._exit(1)


def _keep_only(descriptor: int) -> None:
    """Others wait for the end of conversations that we have inherited an end of."""
    if descriptor > 3:
        close_range(3, descriptor - 1)
    close_range(descriptor + 1)

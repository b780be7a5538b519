"""Processes by descriptor: a pidfd never comes to mean another process (pidfd_open(2), pidfd_send_signal(2))."""

from __future__ import annotations

import os
import select
import signal
from typing import NamedTuple


class Status(NamedTuple):
    """How a process ended: exactly one of the two is not None."""

    exited: int | None
    signaled: int | None

    @property
    def exit_code(self) -> int:
        """The code that a shell and Docker report: 128 + n for a process killed by signal n."""
        return 128 + self.signaled if self.signaled is not None else (self.exited or 0)


def open_pidfd(pid: int) -> int:
    """A pidfd of `pid`; raises `ProcessLookupError` when there is none. Close-on-exec."""
    return os.pidfd_open(pid)


def send_signal(pidfd: int, number: int) -> None:
    """Signal the very process; raises `ProcessLookupError` once it has been reaped."""
    signal.pidfd_send_signal(pidfd, number)


def ended(pidfd: int, timeout_s: float = 0.0) -> bool:
    """Whether the process has ended (it may be unreaped still), waiting up to `timeout_s` for that."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def reap(pidfd: int) -> Status:
    """Wait for the end of a child, take it from the process table, and say how it ended.

    `ChildProcessError` means that it is not our child, or has been reaped already.
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert result is not None
    if result.si_code == os.CLD_EXITED:
        return Status(result.si_status, None)
    return Status(None, result.si_status)

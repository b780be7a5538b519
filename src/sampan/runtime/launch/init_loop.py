"""Waiting before execve, and a pid 1 of our own for `--init` where the host has no tini."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

from sampan.linux import process


def wait_for_start(descriptor: int) -> None:
    """Return once a byte can be read. A writer that opens and dies without writing does not count."""
    os.set_blocking(descriptor, True)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        poll.poll()
        if os.read(descriptor, 1):
            return
        time.sleep(0.01)


def become_init(run: Callable[[], None], title: list[str], title_area: tuple[int, int]) -> None:
    """Fork; the child calls `run`, this process forwards signals to it, reaps everything and ends as it ended.

    Others see it under the command line `title`.
    """
    everything = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, everything | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        try:
            os.setpgid(0, 0)
            if os.isatty(0):
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(0, os.getpgrp())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        except OSError:
            pass  # no terminal of this session: there is no foreground to be in
        run()
        os._exit(255)
    process.set_title(title_area, title)
    process.set_name(os.path.basename(title[0]))
    os.closerange(0, 64)
    while True:
        number = signal.sigwait(everything | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        _reap(child)


def _reap(child: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(1)
        if pid == 0:
            return
        if pid == child:
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))

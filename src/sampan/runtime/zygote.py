"""The zygote: a small warm process that forks shims and rootfs workers, one ahead of the need.

It is an interpreter of its own with the standard library only (no site, no asyncio), imports once what its children need,
freezes its heap (so that a child's garbage collector does not touch, and thereby copy, shared pages) and then does
nothing but keep a few spare processes: a future shim, its launcher, and mostly a future container (`launch.reserve`). The
launcher waits on sampand's socket, so a request meets processes that exist already; it tells the zygote, which forks the
next ones meanwhile. The zygote never reads a request, holds no state, and never runs code from an image.

When sampand's end of the socket closes, zygote and spares end; shims in use do not. When the zygote is killed, its spares
die with it and sampand starts another; shims in use do not notice.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps calls in enums: 0.5 ms, 200 KiB
import gc
import os
import select
import socket
import sys
import time
from typing import NoReturn

import sampan.runtime.shim.shim
from sampan.linux.cgroup import open_cgroup
from sampan.linux.memory import Range, hot_ranges
from sampan.linux.process import die_with_parent, set_dumpable, set_name


def main(fd: int) -> NoReturn:
    """Entry of the zygote's interpreter; `fd` is its end of sampand's socket pair."""
    serve(socket.socket(fileno=fd))


def serve(sock: socket.socket) -> NoReturn:
    set_dumpable(False)
    set_name("sampan-zygote")
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps shims
    os.chdir("/")
    os.umask(0o022)
    sock.set_inheritable(False)
    open_cgroup("/")  # imports the code for this kernel's version
    hot = hot_ranges()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        sock.send(b"ready")
    except OSError:
        os._exit(0)  # sampand is gone already
    poller = select.poll()
    poller.register(sock.fileno(), 0)  # only the hang-up, which cannot be masked
    while True:
        used = _fork_spare(sock, hot)
        poller.register(used, select.POLLIN)
        if any(fd == sock.fileno() for fd, _ in poller.poll()):
            os._exit(0)
        poller.unregister(used)
        os.close(used)


def _fork_spare(sock: socket.socket, hot: list[Range]) -> int:
    """A descriptor that becomes readable when the new spare is in use, or dead."""
    used, notify = os.pipe2(os.O_CLOEXEC)
    zygote = os.getpid()
    while True:
        try:
            child = os.fork()
            break
        except OSError:  # too many processes: requests wait in the socket meanwhile
            time.sleep(0.05)
    if child == 0:
        os.close(used)
        _become_spare(sock, notify, hot, zygote)
    os.close(notify)
    return used


def _become_spare(sock: socket.socket, notify: int, hot: list[Range], zygote: int) -> NoReturn:
    status = 1
    try:
        die_with_parent(zygote)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        gc.enable()
        sampan.runtime.shim.shim.run(sock, notify, hot)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(status)

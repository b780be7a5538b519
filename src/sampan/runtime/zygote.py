"""The zygote: a small warm process that forks shims and rootfs workers.

It is an interpreter of its own with the standard library only (no site, no asyncio), imports once what its children need,
freezes its heap (so that a child's garbage collector does not touch, and thereby copy, shared pages) and then does
nothing but `recvmsg → fork`. A request is not even parsed here: bytes and descriptors go to the child as they came, the
first descriptor being the channel on which the child answers. It holds no state and never runs code from an image.

When sampand's end of the socket closes, the zygote ends; its children do not. When the zygote is killed, sampand starts
another; the children do not notice.
"""

from __future__ import annotations

import _signal
import gc
import os
import socket
import sys
import traceback
from typing import NoReturn

import sampan.runtime.rootfs_worker
import sampan.runtime.shim
from sampan.linux.cgroup import open_cgroup
from sampan.linux.process import set_dumpable, set_name
from sampan.runtime import protocol


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
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        sock.send(b"ready")
    except OSError:
        os._exit(0)  # sampand is gone already
    while True:
        raw = protocol.receive_raw(sock)
        if raw is None:
            os._exit(0)
        if os.fork() == 0:
            _child(sock, raw)
        protocol.close_all(raw.fds)


def _child(sock: socket.socket, raw: protocol.Raw) -> NoReturn:
    """Become what the request says, and never return to the zygote's loop."""
    status = 1
    try:
        sock.close()
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        gc.enable()
        if raw.lane == protocol.LANE_ROOTFS:
            sampan.runtime.rootfs_worker.run(protocol.parse(raw))
        else:
            sampan.runtime.shim.run(raw)
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)

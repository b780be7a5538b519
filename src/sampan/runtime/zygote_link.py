"""sampand's end of the zygote: start it, hand it requests, start another when it died.

Stdlib only, so that sampand can call `ZygoteLink.start()` before its heavy imports: the zygote is then ready by the time
the engine is.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import sampan
from sampan import errors
from sampan.runtime import protocol
from sampan.runtime.interpreter import protected_interpreter

# Not imported from zygote.py: that would import all that the zygote needs into sampand.
_COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from sampan.runtime.zygote import main; main(int(sys.argv[2]))"
_ZYGOTE_FD = 3


class ZygoteLink:
    """One per sampand. `submit` is the only way to a new shim or worker. Not thread-safe: call it from the loop."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._pid = 0
        self._ready = False
        self.before_close: Callable[[], None] = lambda: None
        """Called before `socket` is closed: who polls it must forget it, as its number may be somebody else's next."""
        self._descriptor_limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    @classmethod
    def start(cls) -> ZygoteLink:
        link = cls()
        link._spawn()
        return link

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def socket(self) -> socket.socket | None:
        """Readable when the zygote has died (or once, when it has become ready)."""
        return self._sock

    def check(self) -> None:
        """Call when `socket` is readable: takes note of readiness, and replaces a zygote that has died."""
        if self._sock is None or not self._alive(wait=False):
            self._respawn()

    def submit(self, body: dict[str, Any], *, blob: bytes = b"", fds: Sequence[int] = (), lane: int) -> None:
        """Have a child forked for this request. `fds[0]` is the channel on which it answers; all stay the caller's.

        Raises `Internal` if no zygote can be started.
        """
        data, memfd = protocol.encode(body, blob, lane)
        try:
            all_fds = ([] if memfd is None else [memfd]) + list(fds)
            for attempt in (1, 2):
                try:
                    if self._sock is None or (attempt == 2):
                        self._respawn()
                    assert self._sock is not None
                    protocol.send_encoded(self._sock, data, all_fds)
                    return
                except (BrokenPipeError, ConnectionError) as error:
                    if attempt == 2:
                        raise errors.Internal(f"cannot start the zygote: {error}") from error
        finally:
            if memfd is not None:
                os.close(memfd)

    def close(self) -> None:
        """End the zygote; shims live on."""
        if self._sock is not None:
            self.before_close()
            self._sock.close()
            self._sock = None
        if self._pid:
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:
                pass
            self._pid = 0

    def _alive(self, *, wait: bool) -> bool:
        assert self._sock is not None
        try:
            data = self._sock.recv(16, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self._ready = True
        return True

    def _respawn(self) -> None:
        self.close()
        self._spawn()

    def _spawn(self) -> None:
        ours, theirs = protocol.pair()
        root = os.path.dirname(os.path.dirname(os.path.abspath(sampan.__file__)))
        with protected_interpreter() as executable:
            arguments = [sys.executable, "-I", "-S", "-B", "-c", _COMMAND, root, str(_ZYGOTE_FD)]
            self._pid = os.posix_spawn(
                executable,
                arguments,
                {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), _ZYGOTE_FD),
                ],
                setsid=True,
                setsigmask=[],
            )
        # What containers inherit is what sampand was started with, though it may have raised its own meanwhile.
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._descriptor_limit)
        theirs.close()
        self._sock = ours
        self._ready = False

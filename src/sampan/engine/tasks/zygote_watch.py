"""A zygote that dies is replaced at once, not when the next start needs it."""

from __future__ import annotations

import asyncio
import socket

from sampan.runtime.zygote_link import ZygoteLink


class ZygoteWatch:
    """Belongs to the event loop. `begin` may be called any number of times: it follows the link to a new zygote."""

    def __init__(self, zygote: ZygoteLink) -> None:
        self._zygote = zygote
        self._watched: socket.socket | None = None

    def begin(self) -> None:
        current = self._zygote.socket
        if current is self._watched:
            return
        loop = asyncio.get_running_loop()
        self._watched = current
        if current is not None:
            loop.add_reader(current.fileno(), self._readable, current.fileno())

    def _readable(self, fd: int) -> None:
        before = self._zygote.socket
        if before is not None and before.fileno() == fd and _peek(before):
            self._zygote.check()
            return
        asyncio.get_running_loop().remove_reader(fd)
        self._watched = None
        self._zygote.check()
        self.begin()

    def end(self) -> None:
        if self._watched is not None and self._watched.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._watched.fileno())
        self._watched = None


def _peek(sock: socket.socket) -> bool:
    """Whether there is data to read (True) or the peer is gone (False)."""
    try:
        return bool(sock.recv(16, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False

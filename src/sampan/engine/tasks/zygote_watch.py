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
        zygote.before_close = self.end

    def begin(self) -> None:
        current = self._zygote.socket
        if current is self._watched or current is None:
            return
        self._watched = current
        asyncio.get_running_loop().add_reader(current.fileno(), self._readable)

    def _readable(self) -> None:
        self._zygote.check()  # may replace it, which ends our watch of the old one
        self.begin()

    def end(self) -> None:
        """Before the socket is closed: its number may be a client's next, who would then not be heard."""
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched.fileno())
        self._watched = None

"""Taking a client's connection out of HTTP, as `attach`, `exec start`, `/grpc` and `/session` do.

With `Connection: Upgrade` the answer is 101 and the reason `UPGRADED`; without it 200 and a stream until close (Docker's
older clients). Afterwards the connection is a plain byte stream.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import NamedTuple

from sampan.api.http1 import Connection


class HijackedConnection(NamedTuple):
    """A connection that is ours alone: the caller owns `fd` (a non-blocking stream socket) and must close it."""

    fd: int
    preload: bytes
    """What the client had already sent behind its request."""


async def take(connection: Connection, head: bytes) -> HijackedConnection:
    """Answer with `head` and take the socket. For TLS, where the socket carries ciphertext, a pump in this process
    joins the connection to one end of a socket pair."""
    preload = await connection.detach(head)
    transport = connection.transport
    if transport.get_extra_info("sslcontext") is not None:
        return HijackedConnection(await _pump(transport), preload)
    raw = transport.get_extra_info("socket")
    fd = os.dup(raw.fileno())
    transport.abort()  # closes our descriptor without shutdown(2): the duplicate keeps the connection
    return HijackedConnection(fd, preload)


class _Side(asyncio.Protocol):
    """Carries what it reads over to `other`, and slows its own reading down when `other` says that it cannot keep up.

    The client's end of input is passed on; the process's end closes the connection, as without TLS.
    """

    def __init__(self, other: asyncio.Transport, *, is_client: bool) -> None:
        self._other = other
        self._is_client = is_client

    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    def eof_received(self) -> bool:
        if self._other.is_closing():
            return False
        if self._is_client:
            self._other.write_eof()
            return True
        self._other.close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._other.close()

    def pause_writing(self) -> None:  # asyncio tells the protocol whose own transport is full: its source must wait
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()


async def _pump(client: asyncio.Transport) -> int:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: _Side(client, is_client=False), sock=near)
    client.set_protocol(_Side(transport, is_client=True))
    client.resume_reading()
    return far.detach()

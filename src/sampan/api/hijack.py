"""Taking a client's connection out of HTTP, as `attach`, `exec start`, `/grpc` and `/session` do.

With `Connection: Upgrade` the answer is 101 and the reason `UPGRADED`; without it 200 and a stream until close (Docker's
older clients). Afterwards the connection is a plain byte stream.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import NamedTuple, cast

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
        return HijackedConnection(_pump(transport), preload)
    raw = transport.get_extra_info("socket")
    fd = os.dup(raw.fileno())
    transport.abort()  # closes our descriptor without shutdown(2): the duplicate keeps the connection
    return HijackedConnection(fd, preload)


class _Side(asyncio.Protocol):
    """One direction's reader; writes into the other side's transport and keeps its pace."""

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None
        self.joining: asyncio.Task[None] | None = None  # referenced, or the loop might drop it half-way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def eof_received(self) -> bool:
        if self.other is not None and self.other.can_write_eof():
            self.other.write_eof()
            return True
        if self.other is not None:
            self.other.close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.close()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()


def _pump(client: asyncio.Transport) -> int:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    client_side = _Side()
    client_side.connection_made(client)

    async def join() -> None:
        transport, near_side = await loop.create_connection(_Side, sock=near)
        near_side.other = client
        client_side.other = transport
        client.set_protocol(client_side)
        client.resume_reading()

    client_side.joining = loop.create_task(join())
    return far.detach()

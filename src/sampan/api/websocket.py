"""A client's connection as a WebSocket whose binary messages are a byte stream (RFC 6455), for `attach/ws`.

wsproto speaks the protocol; this joins it to one end of a socket pair, whose other end is a plain stream like any hijacked
connection's: messages in become bytes out, and bytes in become binary messages, unframed.
"""

from __future__ import annotations

import asyncio
import socket

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from sampan.api import routing
from sampan.api.hijack import HijackedConnection
from sampan.errors import InvalidArgument

_REQUIRED = ("upgrade", "sec-websocket-key", "sec-websocket-version")


async def take(request: routing.Request) -> HijackedConnection:
    """Answer the handshake; gives the plain end.

    Raises:
        InvalidArgument: the request asks for no WebSocket.
    """
    if request.header("upgrade").lower() != "websocket" or not all(map(request.header, _REQUIRED)):
        raise InvalidArgument("websocket: the client is not using the websocket protocol")
    speaker = WSConnection(ConnectionType.SERVER)
    head = [f"GET {request.target} HTTP/1.1", "Host: sampan", "Connection: Upgrade"]
    head += [
        f"{name}: {request.header(name)}" for name in (*_REQUIRED, "sec-websocket-protocol") if request.header(name)
    ]
    try:
        speaker.receive_data(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        opening = next(iter(speaker.events()))
        protocols = opening.subprotocols if isinstance(opening, Request) else []
        answer = speaker.send(AcceptConnection(subprotocol=protocols[0] if protocols else None))
    except RemoteProtocolError as error:
        raise InvalidArgument(f"websocket: {error}") from None
    connection, ahead = await request.detach(answer)
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    client = connection.transport
    loop = asyncio.get_running_loop()
    stream, _ = await loop.create_connection(lambda: _Stream(speaker, client), sock=near)
    side = _Client(speaker, client, stream)
    client.set_protocol(side)
    if ahead:
        side.data_received(ahead)
    client.resume_reading()
    return HijackedConnection(far.detach(), b"")


class _Client(asyncio.Protocol):
    """What the client sends, into the stream."""

    def __init__(self, speaker: WSConnection, client: asyncio.Transport, stream: asyncio.Transport) -> None:
        self._speaker = speaker
        self._client = client
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        try:
            self._speaker.receive_data(data)
            for event in self._speaker.events():
                if isinstance(event, BytesMessage | TextMessage):
                    self._stream.write(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
                elif isinstance(event, Ping):
                    self._client.write(self._speaker.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self._client.write(self._speaker.send(event.response()))
                    self._client.close()
        except (RemoteProtocolError, LocalProtocolError):
            self._client.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._stream.close()

    def pause_writing(self) -> None:  # the client is slow: the process's output must wait
        if not self._stream.is_closing():
            self._stream.pause_reading()

    def resume_writing(self) -> None:
        if not self._stream.is_closing():
            self._stream.resume_reading()


class _Stream(asyncio.Protocol):
    """What the process writes, as messages to the client."""

    def __init__(self, speaker: WSConnection, client: asyncio.Transport) -> None:
        self._speaker = speaker
        self._client = client

    def _send(self, message: BytesMessage | CloseConnection) -> None:
        if not self._client.is_closing():
            self._client.write(self._speaker.send(message))

    def data_received(self, data: bytes) -> None:
        self._send(BytesMessage(data=data))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._client.is_closing():
            try:
                self._send(CloseConnection(code=1000))
            except LocalProtocolError:
                pass  # the client has closed first
            self._client.close()

    def pause_writing(self) -> None:  # the process is slow to read: the client must wait
        if not self._client.is_closing():
            self._client.pause_reading()

    def resume_writing(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()

"""gRPC on connections that are already there: grpclib speaks, our messages travel, and the roles may be inverted.

After `POST /grpc` the client calls us; after `POST /session` we call the client, over the connection that it opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from grpclib.client import Channel
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from sampan.build.buildkit.wire import Message


class Codec(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        assert isinstance(message, Message)
        return message.encode()

    def decode(self, data: bytes, message_type: type[Message]) -> Message:
        return message_type.decode(data)


def serve(services: Sequence[Any], transport: asyncio.Transport, ahead: bytes) -> None:
    """Answer the calls of the client behind `transport` (paused); `ahead` is what it has sent already."""
    _join(Server(services, codec=Codec())._protocol_factory(), transport, ahead)


class SessionChannel(Channel):
    """A channel for calls to whoever opened `transport`."""

    def __init__(self, transport: asyncio.Transport, ahead: bytes) -> None:
        super().__init__(path="session", codec=Codec())
        self.closed = asyncio.Event()
        self._protocol = self._protocol_factory()
        lost = self._protocol.connection_lost

        def tell(error: BaseException | None) -> None:
            lost(error)
            self.closed.set()

        setattr(self._protocol, "connection_lost", tell)  # noqa: B010  # grpclib has no hook for it
        _join(self._protocol, transport, ahead)

    async def _create_connection(self) -> H2Protocol:
        raise ConnectionError("the client's session has ended")


def _join(protocol: H2Protocol, transport: asyncio.Transport, ahead: bytes) -> None:
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if ahead:
        protocol.data_received(ahead)
    transport.resume_reading()

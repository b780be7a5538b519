"""TLS between a TCP connection and HTTP, with half-close.

asyncio's own TLS ends a connection as soon as the peer says that it will write no more; `docker run -i` over TLS says so at
the end of its standard input and then still expects the output. Here close_notify in one direction leaves the other open
(RFC 8446, section 6.1).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

_READ_BYTES = 256 << 10
_HANDSHAKE_TIMEOUT_S = 20.0


class TlsTransport(asyncio.Transport):
    """What the protocol above TLS writes to."""

    def __init__(self, layer: TlsLayer) -> None:
        super().__init__({"sslcontext": layer.context})
        self._layer = layer

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._layer.send(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._layer.send_close_notify()

    def close(self) -> None:
        if not self.is_closing():
            self._layer.send_close_notify()
            self._layer.raw.close()

    def abort(self) -> None:
        self._layer.raw.abort()

    def is_closing(self) -> bool:
        return self._layer.raw.is_closing()

    def pause_reading(self) -> None:
        self._layer.pause()

    def resume_reading(self) -> None:
        self._layer.resume()

    def get_write_buffer_size(self) -> int:
        return self._layer.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._layer.raw.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._layer.upper = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._layer.upper


class TlsLayer(asyncio.Protocol):
    """The TCP connection's protocol: decrypts for `upper`, encrypts for the wire."""

    def __init__(self, context: ssl.SSLContext, upper: asyncio.Protocol) -> None:
        self.context = context
        self.upper = upper
        self.raw: asyncio.Transport = cast(asyncio.Transport, None)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._open = False
        self._paused = False
        self._peer_done = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_HANDSHAKE_TIMEOUT_S, self.raw.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self._open:
                self._tls.do_handshake()
                self._begin()
            self._deliver()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._flush()  # the alert that says why
            self.raw.close()
            return
        self._flush()

    def _begin(self) -> None:
        self._open = True
        if self._timer is not None:
            self._timer.cancel()
        self.upper.connection_made(TlsTransport(self))

    def _deliver(self) -> None:
        while self._open and not self._paused and not self._peer_done:
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLZeroReturnError:
                data = b""
            if data:
                self.upper.data_received(data)
            else:
                self._end_of_input()

    def _end_of_input(self) -> None:
        if not self._peer_done:
            self._peer_done = True
            if not self.upper.eof_received():
                self.raw.close()

    def eof_received(self) -> bool:
        if self._open and not self._paused:
            self._end_of_input()
        return self._open

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._open:
            self.upper.connection_lost(error)

    def pause_writing(self) -> None:
        self.upper.pause_writing()

    def resume_writing(self) -> None:
        self.upper.resume_writing()

    def send(self, data: bytes) -> None:
        if not self.raw.is_closing():
            self._tls.write(data)
            self._flush()

    def send_close_notify(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # ours is out; the peer's answer is not waited for
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self.raw.is_closing():
            self.raw.write(self._outgoing.read())

    def pause(self) -> None:
        self._paused = True
        self.raw.pause_reading()

    def resume(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self._paused or self.raw.is_closing():
            return
        self.raw.resume_reading()
        try:
            self._deliver()  # what was decrypted while nobody wanted it
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.raw.close()


def wrapped(context: ssl.SSLContext, make_upper: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
    """A protocol factory that puts TLS below another factory's protocols."""
    return lambda: TlsLayer(context, make_upper())

"""HTTP/1.1 connections on asyncio: h11 parses and frames, this module moves the bytes.

A web framework's server owns its connections; a Docker engine gives them away. After `attach` and `exec` the client's
socket belongs to a container's shim, bytes that the client sent ahead of our answer included. So this server is a thin
layer over a sans-I/O parser that stops exactly at the end of a request and hands back what came behind it.

One request of a connection is handled at a time; what a client pipelines waits in the parser. A client that goes away
cancels the handler only once its response has started to stream: `POST /stop` goes on without its caller, `events` ends.
"""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, cast

import h11

# Docker's limit for a request's head (net/http's DefaultMaxHeaderBytes); long filters travel in the URL.
_MAX_HEAD_BYTES = 1 << 20
_LINGER_S = 0.5
_DISCARD_BYTES = 256 << 10
_BODY_HIGH_WATER_BYTES = 1 << 20
_PIPELINE_HIGH_WATER_BYTES = 64 << 10


class ConnectionLost(ConnectionError):
    """The client went away in the middle of its request body or of our response."""


class Body:
    """A request's body as it arrives, with back-pressure on the client."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size_bytes = 0
        self._eof = False
        self._error: Exception | None = None
        self._arrived: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size_bytes += len(data)
        if self._size_bytes > _BODY_HIGH_WATER_BYTES:
            self._connection.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        self._eof = True
        self._wake()

    def fail(self, error: Exception) -> None:
        if not self._eof:
            self._error = error
            self._wake()

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived."""
        return self._eof

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def chunk(self) -> bytes:
        """The next piece of any size; `b""` at the end.

        Raises:
            ConnectionLost: the client went away before the end.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._eof:
                return b""
            self._connection.continue_if_awaited()
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        data = self._chunks.popleft()
        self._size_bytes -= len(data)
        if self._size_bytes <= _BODY_HIGH_WATER_BYTES // 2:
            self._connection.resume_reading()
        return data

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            ValueError: it is longer than `limit_bytes`.
            ConnectionLost: the client went away before the end.
        """
        parts: list[bytes] = []
        size = 0
        async for part in self:
            size += len(part)
            if size > limit_bytes:
                raise ValueError(f"request body too large: the limit is {limit_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    async def discard(self) -> None:
        """Take in what is left of a body that nobody wants, if it is not much: a client that is still sending when the
        answer comes may take it for a broken connection. Go's server does the same."""
        if self._connection.awaits_continue:
            return
        left = _DISCARD_BYTES
        try:
            while left > 0 and (part := await self.chunk()):
                left -= len(part)
        except ConnectionLost:
            pass  # it may still read: a half-closed connection is lost for a body, not for the answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while part := await self.chunk():
            yield part

    def as_file(self) -> io.BufferedReader:
        """A blocking file for a worker thread; must not be read on the event loop's own thread."""
        return io.BufferedReader(_BodyFile(self, asyncio.get_running_loop()), 1 << 18)


class _BodyFile(io.RawIOBase):
    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._body = body
        self._loop = loop
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(asyncio.run_coroutine_threadsafe(self._body.chunk(), self._loop).result())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class Handler(Protocol):
    def __call__(self, connection: Connection, head: h11.Request, body: Body) -> Awaitable[None]: ...


class Connection(asyncio.Protocol):
    """One client's connection. `handler` is called per request and answers through `respond`, `start`, `send`, `end`,
    or takes the socket by `detach`."""

    def __init__(
        self,
        handler: Handler,
        registry: set[Connection],
        prior_knowledge_h2: Callable[[asyncio.Transport, bytes], None] | None = None,
    ) -> None:
        self._handler = handler
        self._registry = registry
        self._prior_knowledge_h2 = prior_knowledge_h2
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._fresh = True
        self._task: asyncio.Task[None] | None = None
        self._body: Body | None = None
        self._streaming = False
        self._writable: asyncio.Future[None] | None = None
        self._detached = False
        self._lost = False
        self._paused = False
        self._closing = False
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        if self._fresh:
            self._fresh = False
            if data.startswith(b"PRI * HTTP/2.0") and self._prior_knowledge_h2 is not None:
                self._detached = True
                self._registry.discard(self)
                self._prior_knowledge_h2(self.transport, data)
                return
        if self._closing:
            return
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        if self._closing:
            return False
        self._http.receive_data(b"")
        if self._body is not None:
            self._body.fail(ConnectionLost("the client closed the connection before the end of its request"))
        if self._streaming and self._task is not None:
            self._task.cancel()
        elif self._task is None:
            return False
        return True  # a half-closed client still gets the answer to a complete request

    def connection_lost(self, error: Exception | None) -> None:
        self._registry.discard(self)
        self._lost = True
        if self._detached:
            return
        if self._body is not None:
            self._body.fail(ConnectionLost("the client closed the connection"))
        self.resume_writing()
        if self._streaming and self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- the request side

    def pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    @property
    def awaits_continue(self) -> bool:
        """Whether the client sends its body only if it is told to."""
        return self._http.they_are_waiting_for_100_continue

    def continue_if_awaited(self) -> None:
        """Answer `Expect: 100-continue` when the handler first wants the body."""
        if self._http.they_are_waiting_for_100_continue:
            self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))

    def _advance(self) -> None:
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return
                if event is h11.PAUSED:
                    if len(self._http.trailing_data[0]) > _PIPELINE_HIGH_WATER_BYTES:
                        self.pause_reading()
                    return
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data) and self._body is not None:
                    self._body.feed(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage) and self._body is not None:
                    self._body.feed_eof()
                elif isinstance(event, h11.ConnectionClosed):
                    if self._task is None:
                        self.close()
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def _begin(self, head: h11.Request) -> None:
        self._body = Body(self)
        self._streaming = False
        self._task = asyncio.get_running_loop().create_task(self._run(head, self._body))

    async def _run(self, head: h11.Request, body: Body) -> None:
        try:
            await self._handler(self, head, body)
        except asyncio.CancelledError:
            self.close()
            return
        finally:
            self._task = None
        if self._detached:
            return
        if self._lost or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._close_unread()
            return
        self._http.start_next_cycle()
        self.resume_reading()
        self._advance()

    def _close_unread(self) -> None:
        """A body that nobody read is not worth reading: closing tells the client. Not at once: to one that is still
        sending, a closed socket is an error that hides the answer. Go's server does the same, and waits as long."""
        if self._lost or not self.transport.can_write_eof():
            self.close()
            return
        self._closing = True
        self.pause_reading()
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self.close)

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._task is None and self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            text = f"400 Bad Request: {error}".encode()
            head = h11.Response(
                status_code=error.error_status_hint or 400,
                headers=[("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")],
                reason=b"Bad Request",
            )
            self._write(self._http.send(head))
            self._write(self._http.send(h11.Data(data=text)))
            self._write(self._http.send(h11.EndOfMessage()))
        if self._body is not None:
            self._body.fail(ConnectionLost(str(error)))
        self.close()

    # --- the response side

    def respond(self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        """Send a whole response; `body` is left out for HEAD, 204 and 304."""
        if self._lost:
            return
        if status not in (204, 304) and not any(name.lower() == "content-length" for name, _ in headers):
            headers = [*headers, ("Content-Length", str(len(body)))]
        data = self._http.send(_response(status, reason, headers)) or b""
        if body and status not in (204, 304):
            data += self._http.send(h11.Data(data=body)) or b""
        self._write(data + (self._http.send(h11.EndOfMessage()) or b""))

    def start(self, status: int, reason: str, headers: list[tuple[str, str]]) -> None:
        """Send the head of a streamed response at once. From here on, a client that leaves cancels the handler."""
        if self._lost:
            raise ConnectionLost("the client closed the connection")
        self._streaming = True
        self._write(self._http.send(_response(status, reason, headers)))

    async def send(self, data: bytes) -> None:
        """Send a piece of a streamed response; waits while the client is slow."""
        if self._lost:
            raise ConnectionLost("the client closed the connection")
        self._write(self._http.send(h11.Data(data=data)))
        if self._writable is not None:
            await self._writable

    def end(self) -> None:
        """End a streamed response."""
        if not self._lost:
            self._write(self._http.send(h11.EndOfMessage()))

    def _write(self, data: bytes | None) -> None:
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        """Drop the connection in mid-response, so that the client cannot take a torn stream for a whole one."""
        self._closing = True
        self.transport.abort()

    def close(self) -> None:
        """Close after what was written has gone out."""
        self._closing = True
        if not self.transport.is_closing():
            self.transport.close()

    async def detach(self, head: bytes) -> bytes:
        """Stop speaking HTTP: send `head` raw, wait until it is on the wire, give the bytes that the client sent ahead.

        The transport is left open and paused; the caller moves or closes it.
        """
        self._detached = True
        self._registry.discard(self)
        self.pause_reading()
        ahead = bytes(self._http.trailing_data[0])
        self.transport.set_write_buffer_limits(high=0)
        self.transport.write(head)
        while self.transport.get_write_buffer_size() and not self._lost:
            if self._writable is None:
                await asyncio.sleep(0)
            else:
                await self._writable
        return ahead


def _response(status: int, reason: str, headers: list[tuple[str, str]]) -> h11.Response:
    return h11.Response(
        status_code=status,
        reason=reason.encode(),
        headers=[(name.encode(), value.encode("utf-8", "replace")) for name, value in headers],
    )

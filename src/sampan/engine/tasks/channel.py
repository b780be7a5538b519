"""sampand's end of a conversation with a shim or a worker, on asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from sampan import errors
from sampan.runtime import protocol

_SEND_RETRY_S = 0.005
_SEND_RETRIES = 2_000


class Channel:
    """Requests with answers, and events. When the peer is gone, waiting requests raise `Unavailable` and `closed`
    completes; `on_event` is called in order, from the loop."""

    def __init__(self, sock: socket.socket, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._seq = 0
        self.closed: asyncio.Future[None] = self._loop.create_future()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def expect(self, seq: int) -> asyncio.Future[dict[str, Any]]:
        """The answer to request `seq`; a future that raises the peer's error."""
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        if self.closed.done():
            future.set_exception(errors.Unavailable("the container's shim is gone"))
        else:
            self._waiting[seq] = future
        return future

    async def request(self, body: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        seq = self.next_seq()
        answer = self.expect(seq)
        await self.post({**body, "seq": seq}, fds)
        return await answer

    async def post(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send without waiting for an answer. A peer that is gone is not an error here: `closed` tells."""
        for _ in range(_SEND_RETRIES):
            if self.closed.done():
                return
            try:
                protocol.send(self._sock, body, fds=fds)
                return
            except BlockingIOError:
                await asyncio.sleep(_SEND_RETRY_S)
            except OSError:
                self._readable()
                return
        raise errors.Unavailable("the container's shim does not answer")

    def _readable(self) -> None:
        while not self.closed.done():
            try:
                message = protocol.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, errors.SampanError):
                message = None
            if message is None:
                self.close()
                return
            self._dispatch(message)

    def _dispatch(self, message: protocol.Message) -> None:
        protocol.close_all(message.fds)
        body = message.body
        if "event" in body:
            if self._on_event is not None:
                self._on_event(body)
            return
        future = self._waiting.pop(body.get("seq", 0), None)
        if future is None or future.done():
            return
        if "error" in body:
            future.set_exception(protocol.error_from(body["error"]))
        else:
            future.set_result(body)

    def close(self) -> None:
        if self.closed.done():
            return
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self.closed.set_result(None)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(errors.Unavailable("the container's shim is gone"))
        self._waiting.clear()

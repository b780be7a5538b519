"""Chunked responses that grow while the client reads."""

from __future__ import annotations

from http import HTTPStatus
from types import TracebackType
from typing import Any

import msgspec

from sampan.api.http1 import Connection, ConnectionLost

_encode = msgspec.json.Encoder().encode


class ResponseStream:
    """Use as `async with`: the head is sent on entry, the end on exit. An exception inside drops the connection, so that
    no client takes a torn stream for a whole one."""

    def __init__(self, connection: Connection, status: int, headers: list[tuple[str, str]]) -> None:
        self._connection = connection
        self._status = status
        self._headers = headers

    async def __aenter__(self) -> ResponseStream:
        reason = HTTPStatus(self._status).phrase
        self._connection.start(self._status, reason, [*self._headers, ("Transfer-Encoding", "chunked")])
        return self

    async def send(self, data: bytes) -> None:
        """Send a piece; waits while the client is slow. Empty pieces are left out (they would end the stream)."""
        if data:
            await self._connection.send(data)

    async def send_json(self, value: Any, *, end: bytes = b"\r\n") -> None:
        """Send one JSON message, with the line end of Docker's progress streams."""
        await self._connection.send(_encode(value) + end)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._connection.end()
            return False
        self._connection.abort()
        return isinstance(error, ConnectionLost)

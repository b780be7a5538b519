"""The engine's listeners, and the way from a request to its answer."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11
import msgspec

from sampan import errors
from sampan.api.http1 import Body, Connection, ConnectionLost
from sampan.api.routing import Json, Request, Router, Status, common_headers, encode_json
from sampan.api.tls import wrapped
from sampan.errors import InvalidArgument, SampanError, Unavailable

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_log = logging.getLogger("sampan.api")
_SLASHES = re.compile(r"/{2,}")


class Server:
    """Listens on every `-H` address and serves the routes on an engine."""

    def __init__(self, engine: Engine, router: Router) -> None:
        self._engine = engine
        self._router = router
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._paths: list[str] = []

    async def listen(self, host: str, *, group: str = "", tls: ssl.SSLContext | None = None) -> None:
        """Open one address: `unix:///path`, `tcp://host:port` or `fd://` (systemd's socket activation).

        Raises:
            InvalidArgument: the address is malformed.
            Unavailable: it is in use or cannot be bound.
        """
        loop = asyncio.get_running_loop()
        try:
            for bound in _bind(host, group, self._paths):
                factory: Callable[[], asyncio.Protocol] = self._connect
                if tls is not None and bound.family != socket.AF_UNIX:
                    factory = wrapped(tls, self._connect)
                server = await loop.create_server(factory, sock=bound, backlog=1024)
                self._servers.append(server)
        except OSError as error:
            raise Unavailable(f"cannot listen on {host}: {error.strerror or error}") from None

    def _connect(self) -> Connection:
        return Connection(self._handle, self._connections)

    async def close(self) -> None:
        """Stop listening and drop the connections. Containers that took over their client's socket keep it."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    async def _handle(self, connection: Connection, head: h11.Request, body: Body) -> None:
        request = Request(connection, head, body)
        try:
            await self._answer(connection, request)
        except SampanError as error:
            if not request.answered:
                await body.discard()
            _send_error(connection, request, error.status, error.message, error.hint)
        except ConnectionLost:
            connection.abort()
        except asyncio.CancelledError:
            raise
        except OSError as error:  # a full disk, no more descriptors
            _log.exception("%s %s failed", request.method, request.target)
            _send_error(connection, request, 500, errors.from_os_error(error).message)
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.target)
            _send_error(connection, request, 500, f"internal error: {type(error).__name__}: {error}")

    async def _answer(self, connection: Connection, request: Request) -> None:
        if "//" in request.target:
            clean = _SLASHES.sub("/", request.target)
            connection.respond(301, "Moved Permanently", [*common_headers(), ("Location", clean)])
            return
        handler = self._router.find(request)
        result = await handler(self._engine, request)
        if request.answered:
            return
        headers = common_headers()
        if result is None:
            connection.respond(204, "No Content", headers)
        elif isinstance(result, Status):
            connection.respond(result.status, _reason(result.status), [*headers, *result.headers])
        else:
            status, value, extra = result if isinstance(result, Json) else (200, result, [])
            headers += [*extra, ("Content-Type", "application/json")]
            data = encode_json(value)
            if request.method == "HEAD":
                connection.respond(status, _reason(status), [*headers, ("Content-Length", "0")])
            else:
                connection.respond(status, _reason(status), headers, data)


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase


def _send_error(connection: Connection, request: Request, status: int, message: str, hint: str = "") -> None:
    """`hint` is ours: Docker's clients read the message alone."""
    if request.answered:
        # The head has gone out: a torn stream is all the error that HTTP has left.
        connection.abort()
        return
    headers = [*common_headers(), ("Content-Type", "application/json")]
    told = {"message": message, "hint": hint} if hint else {"message": message}
    body = b"" if request.method == "HEAD" or status == 304 else msgspec.json.encode(told) + b"\n"
    connection.respond(status, _reason(status), headers, body)


def _bind(host: str, group: str, paths: list[str]) -> list[socket.socket]:
    parts = urlsplit(host)
    if parts.scheme == "unix":
        path = parts.netloc + parts.path
        paths.append(path)
        return [_bind_unix(path, group)]
    if parts.scheme == "tcp":
        return [socket.create_server((parts.hostname or "127.0.0.1", parts.port or 2375), backlog=1024)]
    if parts.scheme == "fd":
        count = int(os.environ.get("LISTEN_FDS", "0")) if os.environ.get("LISTEN_PID") == str(os.getpid()) else 0
        if not count:
            raise InvalidArgument(
                "no sockets found via socket activation: make sure the service was started by systemd"
            )
        return [socket.socket(fileno=3 + number) for number in range(count)]
    raise InvalidArgument(f"invalid bind address ({host}): use unix:///path, tcp://host:port or fd://")


def _bind_unix(path: str, group: str) -> socket.socket:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # left by an engine that was killed
        else:
            raise OSError(98, "another engine is listening there")
        finally:
            probe.close()
    listener = socket.socket(socket.AF_UNIX)
    old_mask = os.umask(0o117)
    try:
        listener.bind(path)
    finally:
        os.umask(old_mask)
    try:
        os.chown(path, 0, grp.getgrnam(group or "docker").gr_gid)
    except KeyError:
        if group:
            listener.close()
            raise InvalidArgument(f"group {group} not found: create it, or start without --group") from None
    except PermissionError:
        pass  # without root the socket stays ours, which is stricter
    return listener

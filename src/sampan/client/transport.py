"""HTTP/1.1 as far as the Engine API needs it, on one blocking socket.

A `Connection` sends one request at a time; its `Response` must be read to the end (or closed) before the next one.
Bodies are bytes, or an iterable of bytes that is sent chunked. `Connection.hijack` gives up HTTP and returns the socket
(RFC 9110 §7.8; Docker's `Upgrade: tcp`).

Errors: `EngineUnreachable` if nothing answers, `ConnectionLost` if the answer ends early, both of the errors tree.
"""

from __future__ import annotations

import _socket
import os

from sampan.client.hosts import Address
from sampan.errors import SampanError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from socket import socket as Socket

    from sampan.client.tls import TlsSocket

_READ_SIZE = 65536
_MAX_HEAD_SIZE = 256 * 1024
_NO_BODY = (204, 304)


class EngineUnreachable(Unavailable):
    """Nothing listens at the address, or we may not connect."""


class ConnectionLost(SampanError):
    """The engine closed the connection in the middle of an answer (`started`) or before it."""

    def __init__(self, message: str, *, started: bool = True) -> None:
        super().__init__(message)
        self.started = started


class Response:
    """Status, headers (lower-case names) and body of one answer."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str], *, has_body: bool) -> None:
        self.status = status
        self.headers = headers
        self.connection = connection
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._left: int | None = int(length) if length is not None and not self._chunked else None
        self.finished = not has_body or self._left == 0
        if not has_body:
            self._left = 0

    def fileno(self) -> int:
        """For poll(): readable when more of the body arrives."""
        return self.connection.fileno()

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece as it arrives."""
        while not self.finished:
            piece = self.read_some()
            if piece:
                yield piece

    def read(self) -> bytes:
        """The whole (rest of the) body."""
        return b"".join(self.chunks())

    def read_some(self) -> bytes:
        """At least one byte, or b"" at the end (`finished`)."""
        if self.finished:
            return b""
        if self._chunked:
            return self._read_chunked()
        connection = self.connection
        piece = connection.take(_READ_SIZE if self._left is None else min(self._left, _READ_SIZE))
        if self._left is None:
            self.finished = not piece
            if self.finished:
                connection.reusable = False
            return piece
        if not piece:
            raise ConnectionLost("the engine closed the connection in the middle of its answer")
        self._left -= len(piece)
        self.finished = self._left == 0
        return piece

    def _read_chunked(self) -> bytes:
        connection = self.connection
        if not self._left:
            size = int(connection.read_line().partition(b";")[0] or b"0", 16)
            if size == 0:
                while connection.read_line():
                    pass
                self.finished = True
                return b""
            self._left = size
        piece = connection.take(min(self._left, _READ_SIZE))
        if not piece:
            raise ConnectionLost("the engine closed the connection in the middle of its answer")
        self._left -= len(piece)
        if self._left == 0:
            connection.read_line()
        return piece

    def close(self) -> None:
        """Stop reading. The connection is closed unless the body has been read to its end."""
        if not self.finished:
            self.finished = True
            self.connection.close()


class Hijacked:
    """A connection that has left HTTP: the socket, and the bytes that came with the head of the answer."""

    __slots__ = ("content_type", "preload", "sock")

    def __init__(self, sock: Socket | TlsSocket, preload: bytes, content_type: str) -> None:
        self.sock = sock
        self.preload = preload
        self.content_type = content_type

    @property
    def multiplexed(self) -> bool:
        return self.content_type == "application/vnd.docker.multiplexed-stream"


class Connection:
    """One connection to the engine; connects when it is made."""

    def __init__(self, address: Address) -> None:
        self._host = "sampan" if address.path else f"{address.host}:{address.port}"
        self._sock: Socket | TlsSocket | None = connect(address)
        self.buffer = b""
        self.reusable = True
        self.served = 0

    def fileno(self) -> int:
        return self._sock.fileno() if self._sock is not None else -1

    @property
    def closed(self) -> bool:
        return self._sock is None

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | Iterable[bytes] | None = None
    ) -> Response:
        """Send one request and read the head of its answer. `path` is already encoded."""
        lines = [f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: sampan\r\n"]
        lines.extend(f"{name}: {value}\r\n" for name, value in headers.items())
        if body is None or isinstance(body, bytes):
            if body is not None or method in ("POST", "PUT"):
                lines.append(f"Content-Length: {len(body or b'')}\r\n")
            self._send("".join(lines).encode() + b"\r\n" + (body or b""))
        else:
            lines.append("Transfer-Encoding: chunked\r\n\r\n")
            self._send("".join(lines).encode())
            self._send_chunked(body)
        return self._read_head(method)

    def hijack(self, path: str, headers: dict[str, str], body: bytes = b"") -> Response | Hijacked:
        """POST with `Upgrade: tcp`. A `Response` if the engine refuses, else the raw socket."""
        response = self.request("POST", path, {**headers, "Connection": "Upgrade", "Upgrade": "tcp"}, body)
        if response.status not in (101, 200):
            return response
        sock, preload = self._socket(), self.buffer
        self._sock, self.buffer = None, b""
        return Hijacked(sock, preload, response.headers.get("content-type", ""))

    def _socket(self) -> Socket | TlsSocket:
        if self._sock is None:
            raise ConnectionLost("the connection to the engine is closed", started=False)
        return self._sock

    def _send(self, data: bytes) -> None:
        try:
            self._socket().sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise ConnectionLost("the engine closed the connection", started=False) from None

    def _send_chunked(self, body: Iterable[bytes]) -> None:
        """An engine that refuses early answers and closes: then stop sending and read what it said."""
        try:
            sock = self._socket()
            for piece in body:
                if piece:
                    sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.reusable = False

    def _read_head(self, method: str) -> Response:
        while True:
            head = self._take_head()
            status_line, *lines = head.decode("latin-1").split("\r\n")
            try:
                status = int(status_line.split(" ", 2)[1])
            except (IndexError, ValueError):
                raise ConnectionLost(f"this is no HTTP answer: {status_line[:80]!r}") from None
            if status >= 200 or status == 101:
                break
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("connection", "").lower() == "close":
            self.reusable = False
        self.served += 1
        return Response(self, status, headers, has_body=method != "HEAD" and status not in _NO_BODY and status != 101)

    def _take_head(self) -> bytes:
        while b"\r\n\r\n" not in self.buffer:
            try:
                data = self._socket().recv(_READ_SIZE)
            except ConnectionResetError:
                data = b""
            if not data or len(self.buffer) > _MAX_HEAD_SIZE:
                raise ConnectionLost("the engine closed the connection without an answer", started=bool(self.buffer))
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    def take(self, size: int) -> bytes:
        """1..`size` bytes of the body, b"" if the engine has closed."""
        if self.buffer:
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            return piece
        try:
            return self._socket().recv(size)
        except ConnectionResetError:
            return b""

    def read_line(self) -> bytes:
        """Up to and without the next CRLF."""
        while b"\r\n" not in self.buffer:
            data = self._socket().recv(_READ_SIZE)
            if not data:
                raise ConnectionLost("the engine closed the connection in the middle of its answer")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line


def connect(address: Address) -> Socket | TlsSocket:
    """A connected socket. Raises EngineUnreachable with the way out as its hint."""
    try:
        if address.path:
            # The bare C socket type: importing `socket` costs more than the whole request.
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            sock.connect(address.path)
            return sock  # type: ignore[return-value]
        import socket

        plain = socket.create_connection((address.host, address.port), timeout=30)
        plain.settimeout(None)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return _wrap_tls(plain, address) if address.tls else plain
    except PermissionError:
        raise EngineUnreachable(
            f"permission denied while trying to connect to the engine at {address.text}",
            hint="use sudo, or add your user to the group that owns the socket",
        ) from None
    except OSError as error:
        raise EngineUnreachable(
            f"cannot connect to the engine at {address.text}: {error.strerror or error}",
            hint=_hint_unreachable(address),
        ) from None


def _hint_unreachable(address: Address) -> str:
    for variable in ("SAMPAN_HOST", "DOCKER_HOST"):
        if os.environ.get(variable) == address.text:
            return f"that address comes from {variable}; is an engine running there?"
    if address.path:
        return "start an engine with `sudo sampand`, or name a running one with -H or in SAMPAN_HOST"
    return "is an engine listening there? sampand listens on TCP only when told so: -H tcp://…"


def _wrap_tls(plain: Socket, address: Address) -> TlsSocket:
    import ssl

    from sampan.client.tls import TlsSocket

    files = address.tls
    assert files is not None
    context = ssl.create_default_context(cafile=files.ca or None)
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.certificate and files.key:
        context.load_cert_chain(files.certificate, files.key)
    return TlsSocket(plain, context, address.host)

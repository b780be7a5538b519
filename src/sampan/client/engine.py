"""`Engine`: one engine, spoken to in the newest API version that both sides know."""

from __future__ import annotations

from sampan.client import hosts, wire
from sampan.client.transport import Connection, ConnectionLost, EngineUnreachable, Hijacked, Response
from sampan.errors import SampanError, from_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from sampan.client.containers import Containers
    from sampan.client.images import Images
    from sampan.client.networks import Networks
    from sampan.client.system import System
    from sampan.client.volumes import Volumes

    QueryValue = str | int | bool | None | list[str] | dict[str, list[str]]
    Body = bytes | dict[str, Any] | Iterable[bytes] | None

API_VERSION = (1, 50)
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SAFE_IN_PATH = _SAFE | frozenset(b"/:@")


def quote(text: str, safe: frozenset[int] = _SAFE) -> str:
    """Percent-encoding (RFC 3986) of everything but `safe`, without importing urllib."""
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def quote_path(text: str) -> str:
    """A name inside a path: image names keep their `/`, `:` and `@`."""
    return quote(text, _SAFE_IN_PATH)


def encode_query(query: Mapping[str, QueryValue]) -> str:
    """`?a=1&b=x`; None and False are left out, lists repeat the key, dicts are filters as JSON (and left out if empty)."""
    pairs: list[str] = []
    for key, value in query.items():
        if value is None or value is False or value == {}:
            continue
        if isinstance(value, list):
            pairs.extend(f"{key}={quote(item)}" for item in value)
        elif isinstance(value, dict):
            pairs.append(f"{key}={quote(wire.dumps({k: dict.fromkeys(v, True) for k, v in value.items()}))}")
        else:
            pairs.append(f"{key}={quote('1' if value is True else str(value))}")
    return "?" + "&".join(pairs) if pairs else ""


class Engine:
    """Client of one engine. Connects with the first request; keeps idle connections for the next ones."""

    def __init__(self, host: str = "", *, tls: hosts.TlsFiles | None = None, version: str = "") -> None:
        self.address = hosts.parse_host(host or hosts.default_host(), tls)
        self._idle: list[Connection] = []
        self._version = version
        self.server_version = ""

    @property
    def version(self) -> str:
        """The API version in use, such as "1.45"; asked of the engine once."""
        if not self._version:
            response = self.open("HEAD", "/_ping", versioned=False)
            response.read()
            self._finish(response)
            self.server_version = response.headers.get("api-version", "1.24")
            offered = tuple(int(part) for part in self.server_version.split("."))
            self._version = ".".join(str(part) for part in min(API_VERSION, offered))
        return self._version

    # -- requests ------------------------------------------------------------------------------------------------

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        versioned: bool = True,
    ) -> Response:
        """Send a request and return its answer unread; the caller reads or closes it. Raises for status ≥ 400."""
        target = f"/v{self.version}{path}" if versioned else path
        if query:
            target += encode_query(query)
        sent = dict(headers or ())
        if isinstance(body, dict):
            body = wire.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        while True:
            connection = self._connection()
            reused = connection.served > 0
            try:
                response = connection.request(method, target, sent, body)
                break
            except ConnectionLost as error:
                connection.close()
                # A kept connection that the engine closed meanwhile says nothing about this request: once more, afresh.
                if not reused or error.started or not (body is None or isinstance(body, bytes)):
                    raise
        if response.status >= 400:
            raise self._error(response)
        return response

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request, read its answer and decode it; None if it has no body."""
        response = self.open(method, path, query, body, headers)
        data = response.read()
        self._finish(response)
        return wire.loads(data) if data.strip() else None

    def raw(self, path: str, query: Mapping[str, QueryValue] | None = None) -> str:
        """GET, answered with the text exactly as the engine wrote it."""
        response = self.open("GET", path, query)
        data = response.read()
        self._finish(response)
        return data.decode("utf-8", "surrogateescape")

    def hijack(
        self, path: str, query: Mapping[str, QueryValue] | None = None, body: dict[str, Any] | None = None
    ) -> Hijacked:
        """POST that turns its connection into a raw stream."""
        target = f"/v{self.version}{path}{encode_query(query or {})}"
        kind = "application/json" if body is not None else "text/plain"
        data = wire.dumps(body).encode() if body is not None else b""
        connection = Connection(self.address)
        answer = connection.hijack(target, {"Content-Type": kind}, data)
        if isinstance(answer, Hijacked):
            return answer
        raise self._error(answer)

    def finish(self, response: Response) -> None:
        """Give the connection of a fully read answer back for the next request."""
        self._finish(response)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return Connection(self.address)

    def _finish(self, response: Response) -> None:
        connection = response.connection
        if connection.closed:
            return
        if response.finished and connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def _error(self, response: Response) -> SampanError:
        data = response.read()
        self._finish(response)
        text = data.decode("utf-8", "replace").strip()
        hint = ""
        try:
            answer = wire.loads(text)
            message, hint = answer["message"], answer.get("hint", "")
        except (ValueError, KeyError, TypeError, AttributeError):
            message = text or f"the engine answered with status {response.status}"
        return from_status(response.status, str(message), hint=str(hint))

    # -- resources, imported when first used ---------------------------------------------------------------------

    @property
    def containers(self) -> Containers:
        from sampan.client.containers import Containers

        return Containers(self)

    @property
    def images(self) -> Images:
        from sampan.client.images import Images

        return Images(self)

    @property
    def networks(self) -> Networks:
        from sampan.client.networks import Networks

        return Networks(self)

    @property
    def volumes(self) -> Volumes:
        from sampan.client.volumes import Volumes

        return Volumes(self)

    @property
    def system(self) -> System:
        from sampan.client.system import System

        return System(self)


__all__ = ["API_VERSION", "Engine", "EngineUnreachable", "Hijacked", "Response", "encode_query", "quote", "quote_path"]

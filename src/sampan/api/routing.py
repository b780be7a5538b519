"""From a request to its handler: versions, paths, queries, bodies, and the errors that Docker answers with.

A module of this room states its endpoints as data:

    async def start(engine: Engine, request: Request) -> None:
        await engine.containers.start(request.path("id"))

    ROUTES = [Route("POST", "/containers/{id}/start", start)]

What a handler returns becomes the response: a dict, list or msgspec Struct is JSON with 200, `Json(status, body)` another
status, `Status(200)` an empty body, `None` 204. A raised `SampanError` becomes `{"message": …}` with its status.
`{name}` in a pattern stands for one path segment, `{name:.*}` for several (image names).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import h11
import msgspec

from sampan.api import hijack
from sampan.api.http1 import Body, Connection
from sampan.api.streams import ResponseStream
from sampan.errors import InvalidArgument, NotFound
from sampan.spec import go_json

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

API_VERSION = (1, 56)
MIN_API_VERSION = (1, 24)
_MAX_JSON_BYTES = 8 << 20
_INTEGER = re.compile(r"[+-]?[0-9]+")
_encode = msgspec.json.Encoder().encode


class Json(NamedTuple):
    status: int
    body: Any
    headers: list[tuple[str, str]] = []


class Status(NamedTuple):
    status: int
    headers: list[tuple[str, str]] = []


Result = Any
RouteHandler = Callable[["Engine", "Request"], Awaitable[Result]]


class Route(NamedTuple):
    method: str
    pattern: str
    handler: RouteHandler


class Request:
    """A request as its handler sees it. `api_version` is the one in the path, or the newest."""

    def __init__(self, connection: Connection, head: h11.Request, body: Body) -> None:
        self._connection = connection
        self.method = head.method.decode("ascii")
        self._headers = {bytes(name): bytes(value) for name, value in reversed(list(head.headers))}
        self._all_headers = [(bytes(name), bytes(value)) for name, value in head.headers]
        target, _, query = head.target.decode("latin-1").partition("?")
        self.target = target
        self._query: list[tuple[str, str]] = parse_qsl(query, keep_blank_values=True) if query else []
        self._path: dict[str, str] = {}
        self.body = body
        self.api_version = API_VERSION
        self.answered = False

    # --- reading

    def path(self, name: str) -> str:
        """A `{name}` of the route's pattern, percent-decoded."""
        return self._path[name]

    def header(self, name: str, default: str = "") -> str:
        value = self._headers.get(name.lower().encode())
        return default if value is None else value.decode("latin-1")

    def header_list(self, name: str) -> list[str]:
        """All values of a repeated header, in order."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self._all_headers if key == wanted]

    def has_query(self, name: str) -> bool:
        return any(key == name for key, _ in self._query)

    def query(self, name: str, default: str = "") -> str:
        """The first value of a query parameter, as Docker takes it."""
        return next((value for key, value in self._query if key == name), default)

    def query_list(self, name: str) -> list[str]:
        return [value for key, value in self._query if key == name]

    def query_bool(self, name: str, default: bool = False) -> bool:
        """Docker's truth: absent gives `default`; empty, 0, no, false, none (any case) are false, all else is true."""
        if not self.has_query(name):
            return default
        return self.query(name).strip().lower() not in ("", "0", "no", "false", "none")

    def query_int(self, name: str, default: int | None = None) -> int | None:
        """
        Raises:
            InvalidArgument: not an integer, in the words of Go's strconv.
        """
        text = self.query(name)
        if text == "":
            return default
        if not _INTEGER.fullmatch(text):
            raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        # Python refuses to convert more than 4,300 digits; more than 20 are out of range whatever they are.
        if len(text) > 20 or not -(1 << 63) <= (number := int(text)) < 1 << 63:
            raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": value out of range')
        return number

    def filters(self, parameter: str = "filters") -> dict[str, list[str]]:
        """The `filters` parameter in either form that clients send: `{"k": ["v"]}` or `{"k": {"v": true}}`.

        Raises:
            InvalidArgument: not JSON of that shape.
        """
        text = self.query(parameter)
        if not text:
            return {}
        try:
            raw = go_json.parse(text)
            return {
                str(key): [str(value) for value in values]
                if isinstance(values, list)
                else [str(value) for value, wanted in values.items() if wanted]
                for key, values in raw.items()
            }
        except (InvalidArgument, AttributeError, TypeError):
            raise InvalidArgument(f"invalid filter: {text!r} is not a JSON object of filters") from None

    async def json(self, shape: go_json.Shape = go_json.ANY, *, name: str = "", required: bool = True) -> Any:
        """The body as JSON of `shape`, whose Go type is called `name`; None if it is empty and not `required`.

        Raises:
            InvalidArgument: wrong Content-Type, not one JSON document, a value of the wrong type, in Docker's words.
        """
        try:
            data = await self.body.read(_MAX_JSON_BYTES)
        except ValueError as error:
            raise InvalidArgument(str(error)) from None
        if not data.strip():
            if required:
                self._check_content_type()
                raise InvalidArgument("invalid JSON: EOF")
            return None
        self._check_content_type()
        try:
            found = go_json.parse(data)
            if found is None:
                return {} if required else None
            return go_json.conform(found, shape, name)
        except InvalidArgument as error:
            if "trailing" in error.message:
                raise InvalidArgument("unexpected content after JSON") from None
            raise InvalidArgument(f"invalid JSON: {error.message}") from None

    def _check_content_type(self) -> None:
        content_type = self.header("content-type")
        media_type = content_type.partition(";")[0].strip().lower()
        if not media_type:
            raise InvalidArgument("malformed Content-Type header (): mime: no media type")
        if media_type != "application/json":
            raise InvalidArgument(f"unsupported Content-Type header ({content_type}): must be 'application/json'")

    # --- answering

    def stream(
        self,
        content_type: str = "application/json",
        *,
        status: int = 200,
        headers: Sequence[tuple[str, str]] = (),
    ) -> ResponseStream:
        """A chunked response: `async with request.stream() as stream: await stream.send_json(…)`. Its head goes out on
        entering the block. A client that leaves cancels the handler."""
        self.answered = True
        return ResponseStream(self._connection, status, [*common_headers(), *headers, ("Content-Type", content_type)])

    def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """A whole answer that is not JSON."""
        self.answered = True
        self._connection.respond(status, HTTPStatus(status).phrase, [*common_headers(), *headers], body)

    @property
    def wants_upgrade(self) -> bool:
        return "upgrade" in self.header("connection").lower() and bool(self.header("upgrade"))

    async def hijack(self, content_type: str, *, common: bool = False) -> hijack.HijackedConnection:
        """Leave HTTP (see `sampan.api.hijack`). `common` adds the headers that Docker sends on exec but not on attach."""
        self.answered = True
        lines = ["HTTP/1.1 101 UPGRADED"] if self.wants_upgrade else ["HTTP/1.1 200 OK"]
        lines.append(f"Content-Type: {content_type}")
        if self.wants_upgrade:
            lines += ["Connection: Upgrade", f"Upgrade: {_one_line(self.header('upgrade'))}"]
        if common:
            lines += [f"{name}: {value}" for name, value in common_headers()]
        return await hijack.take(self._connection, ("\r\n".join(lines) + "\r\n\r\n").encode())

    async def detach(self, head: bytes) -> tuple[Connection, bytes]:
        """Leave HTTP with an answer of one's own; gives the connection (paused) and the bytes that came ahead."""
        self.answered = True
        ahead = await self._connection.detach(head)
        return self._connection, ahead

    async def raw(self, head: bytes, body: bytes) -> None:
        """Answer outside the usual form and close (attach's plain-text errors)."""
        self.answered = True
        await self._connection.detach(head + body)
        self._connection.transport.close()


def _one_line(value: str) -> str:
    return value.replace("\r", "").replace("\n", "")


def common_headers() -> list[tuple[str, str]]:
    return [
        ("Api-Version", f"{API_VERSION[0]}.{API_VERSION[1]}"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Server", "Sampan (linux)"),
    ]


_VERSION = re.compile(r"/v(\d+)\.(\d+)(?=/|$)")


class Router:
    """All routes, by method and first path segment, in the order of their statement."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._table: dict[tuple[str, str], list[tuple[re.Pattern[str], RouteHandler]]] = {}
        for route in routes:
            segment = route.pattern.split("/", 2)[1].partition("{")[0]
            self._table.setdefault((route.method, segment), []).append((_compile(route.pattern), route.handler))

    def find(self, request: Request) -> RouteHandler:
        """The handler for a request, whose path parameters and version are filled in.

        Raises:
            InvalidArgument: an API version that we do not speak.
            NotFound: no such endpoint (also for a wrong method, as Docker does).
        """
        path = request.target
        if match := _VERSION.match(path):
            path = path[match.end() :]
            request.api_version = _check_version(int(match[1]), int(match[2]))
        path = path.rstrip("/") or "/"
        segment = path.split("/", 2)[1]
        for method in ("GET", "HEAD") if request.method == "HEAD" else (request.method,):
            for pattern, handler in self._table.get((method, segment), ()):
                if found := pattern.fullmatch(path):
                    request._path = {name: unquote(value) for name, value in found.groupdict().items()}
                    return handler
        raise NotFound("page not found")


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(?::([^}]*))?\}", pattern)
    regex = re.escape(parts[0])
    for name, kind, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        regex += f"(?P<{name}>{kind or '[^/]+'})" + re.escape(literal)
    return re.compile(regex)


def _check_version(major: int, minor: int) -> tuple[int, int]:
    version = (major, minor)
    if version < MIN_API_VERSION:
        least = ".".join(map(str, MIN_API_VERSION))
        raise InvalidArgument(
            f"client version {major}.{minor} is too old. Minimum supported API version is {least}, "
            "please upgrade your client to a newer version"
        )
    if version > API_VERSION:
        most = ".".join(map(str, API_VERSION))
        raise InvalidArgument(f"client version {major}.{minor} is too new. Maximum supported API version is {most}")
    return version


def encode_json(value: Any) -> bytes:
    """Compact JSON and a newline, as Docker's encoder ends every body."""
    return _encode(value) + b"\n"

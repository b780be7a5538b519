"""`POST /containers/{id}/attach`, and `resize` of a container's terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.hijack import HijackedConnection
from sampan.api.routing import Request, Route, Status
from sampan.engine.containers import attach as attaching
from sampan.engine.tasks.spec import Attachment
from sampan.errors import Conflict, InvalidArgument, SampanError

if TYPE_CHECKING:
    from sampan.engine.containers.model import Container
    from sampan.engine.engine import Engine

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_REASONS = {400: "Bad Request", 404: "Not Found", 409: "Conflict", 500: "Internal Server Error"}
_MULTIPLEXED_SINCE = (1, 42)
_MAX_SIZE = 0xFFFFFFFF


def stream_type(request: Request, tty: bool) -> str:
    """The media type of a hijacked stream: the multiplexed one has a name only for new clients that upgrade."""
    multiplexed = not tty and request.wants_upgrade and request.api_version >= _MULTIPLEXED_SINCE
    return MULTIPLEXED if multiplexed else RAW


async def attach(engine: Engine, request: Request) -> None:
    try:
        container = engine.containers.get(request.path("id"))
        attaching.check_attachable(container)
        detach_keys = attaching.parse_detach_keys(request.query("detachKeys"))
    except SampanError as error:
        await _refuse(request, error)
        return
    client = await request.hijack(stream_type(request, container.tty))
    await _join(engine, request, container, client, detach_keys, framed=not container.tty)


async def attach_websocket(engine: Engine, request: Request) -> None:
    """As `attach`, over a WebSocket; the streams are not told apart. Errors are JSON."""
    container = engine.containers.get(request.path("id"))
    attaching.check_attachable(container)
    detach_keys = attaching.parse_detach_keys(request.query("detachKeys"))
    from sampan.api import websocket  # late: few clients want it

    client = await websocket.take(request)
    await _join(engine, request, container, client, detach_keys, framed=False)


async def _join(
    engine: Engine,
    request: Request,
    container: Container,
    client: HijackedConnection,
    detach_keys: bytes,
    *,
    framed: bool,
) -> None:
    attachment = Attachment(
        fd=client.fd,
        stdin=request.query_bool("stdin") and bool(container.config.get("OpenStdin")),
        stdout=request.query_bool("stdout"),
        stderr=request.query_bool("stderr"),
        framed=framed,
        detach_keys=detach_keys,
        preload=client.preload,
        logs=request.query_bool("logs"),
    )
    engine.events.publish("container", "attach", container.id, container.event_attributes())
    await attaching.attach(engine.tasks, container, attachment, stream=request.query_bool("stream"))


async def _refuse(request: Request, error: SampanError) -> None:
    """Errors of attach are plain text, even the status line's type is that of the stream."""
    reason = _REASONS.get(error.status, "Error")
    head = f"HTTP/1.1 {error.status} {reason}\r\nContent-Type: {RAW}\r\n\r\n"
    await request.raw(head.encode(), f"{error.message}\r\n".encode())


def console_size(request: Request) -> tuple[int, int]:
    """(height, width) of a resize.

    Raises:
        InvalidArgument: in the words of Go's strconv.
    """
    return _dimension(request, "h", "height"), _dimension(request, "w", "width")


def _dimension(request: Request, name: str, word: str) -> int:
    text = request.query(name)
    if not text.isascii() or not text.isdigit():
        raise InvalidArgument(f'invalid resize {word} "{text}": invalid syntax')
    value = int(text) if len(text) <= 20 else _MAX_SIZE + 1
    if value > _MAX_SIZE:
        raise InvalidArgument(f'invalid resize {word} "{text}": value out of range')
    return min(value, 0xFFFF)


async def resize(engine: Engine, request: Request) -> Status:
    height, width = console_size(request)
    container = engine.containers.get(request.path("id"))
    if not container.running or container.task is None:
        raise Conflict(f"container {container.id} is not running")
    await container.task.resize(height, width)
    attributes = {**container.event_attributes(), "height": str(height), "width": str(width)}
    engine.events.publish("container", "resize", container.id, attributes)
    return Status(200)


ROUTES = [
    Route("POST", "/containers/{id}/attach", attach),
    Route("GET", "/containers/{id}/attach/ws", attach_websocket),
    Route("POST", "/containers/{id}/resize", resize),
]

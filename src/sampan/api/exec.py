"""`/containers/{id}/exec` and `/exec/*`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sampan.api.attach import console_size, stream_type
from sampan.api.routing import Json, Request, Route, Status
from sampan.engine.containers.execs import ExecConfig
from sampan.engine.tasks.spec import Attachment
from sampan.errors import Conflict, InvalidArgument, SampanError
from sampan.runtime.shim.attach import STDOUT, frame

if TYPE_CHECKING:
    from sampan.engine.containers.execs import Exec
    from sampan.engine.engine import Engine


class ExecStartConfig(msgspec.Struct, kw_only=True):
    Detach: bool | None = False
    Tty: bool | None = False
    ConsoleSize: list[int] | None = None


async def create(engine: Engine, request: Request) -> Json:
    body = await request.json()
    try:
        config = msgspec.convert(body, ExecConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid JSON: {error}") from None
    if not config.Cmd:
        raise InvalidArgument("No exec command specified")
    created = engine.execs.create(engine.containers.get(request.path("id")), config)
    return Json(201, {"Id": created.id})


async def start(engine: Engine, request: Request) -> Status | None:
    found = engine.execs.get(request.path("id"))
    body = await request.json(required=False)
    try:
        options = msgspec.convert(body or {}, ExecStartConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid JSON: {error}") from None
    size = _size(options.ConsoleSize)
    if options.Detach:
        await engine.execs.start(found, console_size=size)
        return Status(200)
    if found.started:
        raise Conflict(f"exec command {found.id} has already run")
    await _start_attached(engine, request, found, bool(options.Tty), size)
    return None


def _size(size: list[int] | None) -> tuple[int, int] | None:
    if not size:
        return None
    if len(size) != 2 or any(value < 0 for value in size):
        raise InvalidArgument("invalid ConsoleSize: it should be [height, width]")
    return (min(size[0], 0xFFFF), min(size[1], 0xFFFF)) if any(size) else None


async def _start_attached(
    engine: Engine, request: Request, found: Exec, tty: bool, size: tuple[int, int] | None
) -> None:
    """Framing follows the `Tty` of this request. From the 101 on, the stream is the only place for an error."""
    config = found.config
    client = await request.hijack(stream_type(request, tty), common=request.wants_upgrade)
    attachment = Attachment(
        fd=client.fd,
        stdin=bool(config.AttachStdin),
        stdout=bool(config.AttachStdout),
        stderr=bool(config.AttachStderr),
        framed=not tty,
        preload=client.preload,
    )
    try:
        await engine.execs.start(found, attachment=attachment, console_size=size)
    except SampanError as error:
        text = f"{error.message}\r\n".encode()
        attachment.say(text if tty else frame(STDOUT, text))
        attachment.discard()


async def inspect(engine: Engine, request: Request) -> dict[str, Any]:
    return engine.execs.get(request.path("id")).to_json()


async def resize(engine: Engine, request: Request) -> Status:
    height, width = console_size(request)
    found = engine.execs.get(request.path("id"))
    await engine.execs.resize(found, height, width)
    return Status(200)


ROUTES = [
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("GET", "/exec/{id}/json", inspect),
    Route("POST", "/exec/{id}/resize", resize),
]

"""`/containers/{id}/archive`, `/export` and `/changes`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from sampan.api.routing import Json, Request, Route, Status
from sampan.engine.containers import archive
from sampan.errors import InvalidArgument

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_TAR = "application/x-tar"
_STAT_HEADER = "X-Docker-Container-Path-Stat"


def _path(request: Request) -> str:
    path = request.query("path")
    if not path:
        raise InvalidArgument("missing parameter: path")
    return path


def _stat_headers(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(_STAT_HEADER, base64.b64encode(msgspec.json.encode(found)).decode())]


async def head(engine: Engine, request: Request) -> Status:
    container = engine.containers.get(request.path("id"))
    found = await archive.stat_path(engine.tasks, container, _path(request))
    return Status(200, _stat_headers(found))


async def get(engine: Engine, request: Request) -> Status | None:
    if request.method == "HEAD":
        return await head(engine, request)
    container = engine.containers.get(request.path("id"))
    async with archive.archive(engine.tasks, container, _path(request)) as (found, pieces):
        async with request.stream(_TAR, headers=_stat_headers(found)) as stream:
            async for piece in pieces:
                await stream.send(piece)
    attributes = container.event_attributes()
    engine.events.publish("container", "archive-path", container.id, attributes)
    return None


async def put(engine: Engine, request: Request) -> Status:
    path = _path(request)
    container = engine.containers.get(request.path("id"))
    await archive.extract(
        engine.tasks,
        container,
        path,
        request.body.__aiter__(),
        no_overwrite_dir_non_dir=request.query_bool("noOverwriteDirNonDir"),
        copy_owner=request.query_bool("copyUIDGID"),
    )
    engine.events.publish("container", "extract-to-dir", container.id, container.event_attributes())
    return Status(200)


async def export(engine: Engine, request: Request) -> None:
    container = engine.containers.get(request.path("id"))
    async with archive.export(engine.tasks, container) as pieces:
        async with request.stream("application/octet-stream") as stream:
            async for piece in pieces:
                await stream.send(piece)
    engine.events.publish("container", "export", container.id, container.event_attributes())


async def changes(engine: Engine, request: Request) -> Json:
    return Json(200, await archive.changes(engine.containers.get(request.path("id"))))


ROUTES = [
    Route("HEAD", "/containers/{id}/archive", get),
    Route("GET", "/containers/{id}/archive", get),
    Route("PUT", "/containers/{id}/archive", put),
    Route("GET", "/containers/{id}/export", export),
    Route("GET", "/containers/{id}/changes", changes),
]

"""`/volumes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.api.routing import Json, Request, Route
from sampan.engine import volumes
from sampan.spec.requests import VOLUME_CREATE

if TYPE_CHECKING:
    from sampan.engine.engine import Engine


async def list_volumes(engine: Engine, request: Request) -> dict[str, Any]:
    found = volumes.listed(engine, request.filters())
    return {"Volumes": [volumes.describe(engine, volume) for volume in found], "Warnings": None}


async def create(engine: Engine, request: Request) -> Json:
    body = await request.json(VOLUME_CREATE, name="CreateOptions", required=False) or {}
    volume = await engine.volumes.create(
        body.get("Name", ""), body.get("Driver", ""), body.get("Labels"), body.get("DriverOpts")
    )
    return Json(201, volumes.describe(engine, volume))


async def inspect(engine: Engine, request: Request) -> dict[str, Any]:
    return volumes.describe(engine, engine.volumes.get(request.path("name")))


async def remove(engine: Engine, request: Request) -> None:
    await engine.volumes.remove(request.path("name"), request.query_bool("force"))


async def prune(engine: Engine, request: Request) -> dict[str, Any]:
    return await volumes.prune(engine, request.filters(), named_too=request.api_version < (1, 42))


ROUTES = [
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("DELETE", "/volumes/{name}", remove),
]

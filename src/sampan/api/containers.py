"""`/containers/…`: life and looks. Attach, logs, exec, archive and their kin are modules of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.api.routing import Json, Request, Route, encode_json
from sampan.engine.containers import ending, stats
from sampan.errors import InvalidArgument
from sampan.spec.requests import CREATE, UPDATE

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_STATS_INTERVAL_S = 1.0


async def create(engine: Engine, request: Request) -> Json:
    body = await request.json(CREATE, name="CreateRequest")
    container, warnings = await engine.containers.create(
        body, name=request.query("name"), platform=request.query("platform"), api_version=request.api_version
    )
    return Json(201, {"Id": container.id, "Warnings": warnings})


async def list_containers(engine: Engine, request: Request) -> list[dict[str, Any]]:
    return await engine.containers.list(
        {
            "all": request.query_bool("all"),
            "size": request.query_bool("size"),
            "limit": request.query_int("limit", 0),
            "filters": request.filters(),
            "api_version": request.api_version,
        }
    )


async def inspect(engine: Engine, request: Request) -> dict[str, Any]:
    name, size = request.path("id"), request.query_bool("size")
    if size:
        return await asyncio.to_thread(engine.containers.inspect, name, size=True, api_version=request.api_version)
    return engine.containers.inspect(name, api_version=request.api_version)


async def start(engine: Engine, request: Request) -> None:
    await engine.containers.start(request.path("id"))


async def stop(engine: Engine, request: Request) -> None:
    await engine.containers.stop(request.path("id"), signal=request.query("signal"), timeout_s=request.query_int("t"))


async def restart(engine: Engine, request: Request) -> None:
    await engine.containers.restart(
        request.path("id"), signal=request.query("signal"), timeout_s=request.query_int("t")
    )


async def kill(engine: Engine, request: Request) -> None:
    await engine.containers.kill(request.path("id"), request.query("signal"))


async def pause(engine: Engine, request: Request) -> None:
    await engine.containers.pause(request.path("id"))


async def unpause(engine: Engine, request: Request) -> None:
    await engine.containers.unpause(request.path("id"))


async def wait(engine: Engine, request: Request) -> None:
    """The head of the answer goes out at once: clients start the container only when they have it."""
    ending.check_condition(request.query("condition"))
    container, future = engine.containers.waiter(request.path("id"), request.query("condition"))
    try:
        async with request.stream("application/json") as stream:
            exit_code, _ = await future
            await stream.send(encode_json({"StatusCode": exit_code}))
    finally:
        ending.drop_waiter(container, future)


async def rename(engine: Engine, request: Request) -> None:
    await engine.containers.rename(request.path("id"), request.query("name"))


async def update(engine: Engine, request: Request) -> dict[str, Any]:
    engine.containers.get(request.path("id"))
    body = await request.json(UPDATE, name="UpdateConfig")
    warnings = await engine.containers.update(request.path("id"), body)
    return {"Warnings": warnings or None}


async def remove(engine: Engine, request: Request) -> None:
    await engine.containers.remove(
        request.path("id"),
        force=request.query_bool("force"),
        volumes=request.query_bool("v"),
        link=request.query_bool("link"),
    )


async def prune(engine: Engine, request: Request) -> dict[str, Any]:
    return await engine.containers.prune(request.filters())


async def stream_stats(engine: Engine, request: Request) -> dict[str, Any] | None:
    """One sample a second; `stream=0` one with its predecessor, `one-shot` one alone and at once."""
    container = engine.containers.get(request.path("id"))
    streaming = request.query_bool("stream", True)
    one_shot = request.query_bool("one-shot")
    if one_shot and streaming:
        raise InvalidArgument("cannot have stream=true and one-shot=true")
    if not streaming:
        first = engine.containers.sample(container)
        if one_shot or not container.running:
            return first
        await asyncio.sleep(_STATS_INTERVAL_S)
        return stats.following(engine.containers.sample(container), first)
    async with request.stream("application/json") as stream:
        previous: stats.Sample | None = None
        while not container.removed:
            current = engine.containers.sample(container)
            await stream.send(encode_json(stats.following(current, previous)))
            previous = current if container.running else None
            await asyncio.sleep(_STATS_INTERVAL_S)
    return None


ROUTES = [
    Route("POST", "/containers/create", create),
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{id:.*}/json", inspect),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/wait", wait),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/update", update),
    Route("GET", "/containers/{id}/stats", stream_stats),
    Route("DELETE", "/containers/{id:.*}", remove),
]

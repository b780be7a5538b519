"""`/networks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.api.routing import Json, Request, Route, Status
from sampan.engine import networks
from sampan.engine.containers import networking
from sampan.spec.requests import NETWORK_CONNECT, NETWORK_CREATE, NETWORK_DISCONNECT

if TYPE_CHECKING:
    from sampan.engine.engine import Engine


async def list_networks(engine: Engine, request: Request) -> list[dict[str, Any]]:
    # Before API 1.28 the list told who is in each network
    containers = request.api_version < (1, 28)
    found = networks.listed(engine, request.filters())
    return [networks.describe(engine, network, containers=containers) for network in found]


async def inspect(engine: Engine, request: Request) -> dict[str, Any]:
    return networks.describe(engine, engine.networks.get(request.path("id")), containers=True)


async def create(engine: Engine, request: Request) -> Json:
    body = await request.json(NETWORK_CREATE, name="CreateRequest")
    network = await engine.networks.create(body)
    return Json(201, {"Id": network.id, "Warning": ""})


async def remove(engine: Engine, request: Request) -> None:
    await engine.networks.remove(request.path("id"))


async def connect(engine: Engine, request: Request) -> Status:
    body = await request.json(NETWORK_CONNECT, name="ConnectOptions")
    network = engine.networks.get(request.path("id"))
    container = engine.containers.get(body.get("Container", ""))
    await networking.connect(engine, container, network.name, body.get("EndpointConfig") or {})
    return Status(200)


async def disconnect(engine: Engine, request: Request) -> Status:
    body = await request.json(NETWORK_DISCONNECT, name="DisconnectOptions")
    network = engine.networks.get(request.path("id"))
    container = engine.containers.get(body.get("Container", ""))
    await networking.disconnect(engine, container, network.name, force=body.get("Force", False))
    return Status(200)


async def prune(engine: Engine, request: Request) -> dict[str, Any]:
    return {"NetworksDeleted": await networks.prune(engine, request.filters()) or None}


ROUTES = [
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
]

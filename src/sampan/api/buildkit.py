"""`POST /grpc` and `POST /session`: HTTP/2 on the client's own connection, for BuildKit clients.

On `/grpc` we answer calls; on `/session` the roles are inverted, and the engine calls the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.routing import Request, Route
from sampan.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def _check_upgrade(request: Request, refused: type[Internal] | type[InvalidArgument]) -> None:
    protocol = request.header("upgrade")
    if not request.wants_upgrade:
        raise refused("no upgrade proto in request")
    if protocol.lower() != "h2c":
        raise refused(f"protocol {protocol} not supported")


async def grpc(engine: Engine, request: Request) -> None:
    _check_upgrade(request, Internal)
    from sampan.build.buildkit import rpc  # late: only BuildKit clients pay for HTTP/2

    connection, ahead = await request.detach(_UPGRADED)
    rpc.serve(engine.buildkit.services(), connection.transport, ahead)


async def session(engine: Engine, request: Request) -> None:
    _check_upgrade(request, InvalidArgument)
    from sampan.build.buildkit.rpc import SessionChannel
    from sampan.build.buildkit.session import ClientSession

    connection, ahead = await request.detach(_UPGRADED)
    channel = SessionChannel(connection.transport, ahead)
    methods = request.header_list("x-docker-expose-session-grpc-method")
    opened = ClientSession(request.header("x-docker-expose-session-uuid"), methods, channel)
    await engine.buildkit.sessions.add(opened)
    try:
        await channel.closed.wait()
    finally:
        engine.buildkit.sessions.remove(opened)
        channel.close()


ROUTES = [Route("POST", "/grpc", grpc), Route("POST", "/session", session)]

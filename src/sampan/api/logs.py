"""`GET /containers/{id}/logs` and `/top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.api.attach import MULTIPLEXED, RAW
from sampan.api.routing import Request, Route
from sampan.engine.containers.logs import LogOptions, check_readable, parse_time_ns, read_logs
from sampan.engine.containers.top import top
from sampan.errors import InvalidArgument

if TYPE_CHECKING:
    from sampan.engine.engine import Engine


async def logs(engine: Engine, request: Request) -> None:
    stdout, stderr = request.query_bool("stdout"), request.query_bool("stderr")
    if not (stdout or stderr):
        raise InvalidArgument("must specify at least one of 'stdout' or 'stderr'")
    options = LogOptions(
        follow=request.query_bool("follow"),
        stdout=stdout,
        stderr=stderr,
        timestamps=request.query_bool("timestamps"),
        details=request.query_bool("details"),
        since_ns=parse_time_ns(request.query("since")),
        until_ns=parse_time_ns(request.query("until")),
        tail=_tail(request.query("tail")),
    )
    container = engine.containers.get(request.path("id"))
    check_readable(container)
    framed = not container.tty and request.api_version >= (1, 42)
    async with request.stream(MULTIPLEXED if framed else RAW) as stream:
        async for piece in read_logs(container, options):
            await stream.send(piece)


def _tail(text: str) -> int:
    """A number of lines; `all`, empty and what is no number mean everything, as in Docker."""
    try:
        return int(text)
    except ValueError:
        return -1


async def show_top(engine: Engine, request: Request) -> dict[str, Any]:
    return await top(engine, engine.containers.get(request.path("id")), request.query("ps_args"))


ROUTES = [
    Route("GET", "/containers/{id}/logs", logs),
    Route("GET", "/containers/{id}/top", show_top),
]

"""`/_ping`, `/version`, `/info`, `/events`, `/system/df`, and what Docker has that a single node does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from sampan.api.routing import API_VERSION, MIN_API_VERSION, Request, Route
from sampan.engine import events, system
from sampan.errors import InvalidArgument, NotFound, NotSupported, Unavailable
from sampan.types.times import parse_rfc3339_ns

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_PING_HEADERS = [
    ("Builder-Version", "2"),
    ("Swarm", "inactive"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
]
_DF_KINDS = {"container", "image", "volume", "build-cache"}
_to_json = msgspec.json.Encoder().encode


async def ping(engine: Engine, request: Request) -> None:
    headers = [*_PING_HEADERS, ("Content-Type", "text/plain; charset=utf-8")]
    request.respond(200, headers, b"" if request.method == "HEAD" else b"OK")


async def version(engine: Engine, request: Request) -> dict[str, Any]:
    return system.version(_dotted(API_VERSION), _dotted(MIN_API_VERSION))


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


async def info(engine: Engine, request: Request) -> dict[str, Any]:
    return system.info(engine)


async def stream_events(engine: Engine, request: Request) -> None:
    since, until = _time_ns(request.query("since")), _time_ns(request.query("until"))
    if since is not None and until is not None and since > until:
        raise InvalidArgument(
            f"`since` time ({request.query('since')}) cannot be after `until` time ({request.query('until')})"
        )
    filters = request.filters()
    events.check_filters(filters)
    async with request.stream("application/json") as stream:
        async for event in engine.events.subscribe(since, until, filters):
            await stream.send(_to_json(event) + b"\n")


_SECONDS = re.compile(r"(-?[0-9]{1,18})(?:\.([0-9]{1,9}))?")


def _time_ns(text: str) -> int | None:
    """A Unix time with up to nine decimals, or RFC 3339, in nanoseconds; None if empty."""
    if not text:
        return None
    if match := _SECONDS.fullmatch(text):
        return int(match[1]) * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
    try:
        return parse_rfc3339_ns(text)
    except ValueError:
        raise InvalidArgument(f'invalid value "{text}": neither a Unix time nor RFC 3339') from None


async def disk_usage(engine: Engine, request: Request) -> dict[str, Any]:
    kinds = set(request.query_list("type"))
    if unknown := kinds - _DF_KINDS:
        raise InvalidArgument(f"unknown object type: {unknown.pop()}")
    return await system.disk_usage(engine, kinds or _DF_KINDS)


async def no_swarm(engine: Engine, request: Request) -> None:
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
        "to swarm and try again."
    )


async def leave_swarm(engine: Engine, request: Request) -> None:
    raise Unavailable("This node is not part of a swarm")


async def plugins(engine: Engine, request: Request) -> list[Any]:
    return []


async def plugin(engine: Engine, request: Request) -> None:
    raise NotFound(f'plugin "{request.path("name")}" not found')


async def no_plugins(engine: Engine, request: Request) -> None:
    raise NotSupported("this engine runs no managed plugins")


_SWARM_PATHS = ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs")
ROUTES = [
    Route("GET", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", stream_events),
    Route("GET", "/system/df", disk_usage),
    Route("GET", "/plugins", plugins),
    Route("GET", "/plugins/privileges", no_plugins),
    *(Route("POST", f"/plugins/{verb}", no_plugins) for verb in ("pull", "create")),
    Route("GET", "/plugins/{name:.*}/json", plugin),
    Route("DELETE", "/plugins/{name:.*}", plugin),
    *(
        Route("POST", f"/plugins/{{name:.*}}/{verb}", plugin)
        for verb in ("enable", "disable", "upgrade", "push", "set")
    ),
    Route("PUT", "/volumes/{name}", no_swarm),  # cluster volumes
    Route("POST", "/swarm/leave", leave_swarm),
    *(Route(method, path + "{rest:.*}", no_swarm) for path in _SWARM_PATHS for method in ("GET", "POST", "DELETE")),
]

"""`POST /build` and `POST /build/prune`."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from sampan.api.routing import Request, Route
from sampan.build.options import BuildOptions, Limits
from sampan.errors import InvalidArgument
from sampan.spec import go_json
from sampan.spec.go_json import ANY, STR, Shape
from sampan.spec.requests import LABELS, RESOURCES, STRINGS

if TYPE_CHECKING:
    from sampan.engine.engine import Engine


async def build(engine: Engine, request: Request) -> None:
    """The classic builder. The answer starts when the context is here and the Dockerfile is read; a client that leaves
    then cancels the build."""
    options = options_of(request)
    builder = engine.builder
    prepared = await builder.prepare(options, None if options.remote else request.body.as_file())
    try:
        async with request.stream("application/json") as stream:
            await builder.run(prepared, stream.send_json)
    finally:
        await builder.discard(prepared)


async def prune(engine: Engine, request: Request) -> dict[str, Any]:
    keep = request.query_int("reserved-space") or request.query_int("keep-storage") or 0
    return await engine.builder.prune(request.filters(), all_entries=request.query_bool("all"), keep_bytes=keep)


def options_of(request: Request) -> BuildOptions:
    """The query parameters.

    Raises:
        InvalidArgument: malformed JSON in one of them, in Docker's words; or what only BuildKit can do.
    """
    if request.query("version") == "2":
        raise InvalidArgument("this endpoint builds with the classic API only: BuildKit clients use /grpc and /session")
    isolation = request.query("isolation")
    if isolation not in ("", "default"):
        raise InvalidArgument(f'unsupported isolation: "{isolation}"')
    if _json(request, "securityopt", "error reading security options", STRINGS):
        raise InvalidArgument("security options are not supported on linux")
    remove = request.query_bool("rm", default=True)
    arguments = _json(request, "buildargs", "error reading build args", {"*": ANY}) or {}
    labels = _json(request, "labels", "error reading labels", LABELS) or {}
    cache_from = _json(request, "cachefrom", "error reading cache-from", STRINGS) or []
    return BuildOptions(
        dockerfile=request.query("dockerfile") or "Dockerfile",
        tags=request.query_list("t"),
        target=request.query("target"),
        build_args={
            name: None if value is None else go_json.conform(value, STR, "string") for name, value in arguments.items()
        },
        labels=labels,
        network=request.query("networkmode") or "default",
        extra_hosts=[entry for entry in request.query_list("extrahosts") if entry],
        no_cache=request.query_bool("nocache"),
        pull=request.query_bool("pull"),
        platform=request.query("platform"),
        squash=request.query_bool("squash"),
        quiet=request.query_bool("q"),
        remove=remove,
        force_remove=request.query_bool("forcerm"),
        cache_from=cache_from,
        remote=request.query("remote"),
        registry_auth=_registry_auth(request.header("X-Registry-Config")),
        limits=_limits(request),
    )


def _limits(request: Request) -> Limits:
    ulimits = _json(request, "ulimits", "error reading ulimit settings", RESOURCES["Ulimits"]) or []
    return Limits(
        memory_bytes=request.query_int("memory") or 0,
        memory_swap_bytes=request.query_int("memswap") or 0,
        cpu_shares=request.query_int("cpushares") or 0,
        cpu_period_us=request.query_int("cpuperiod") or 0,
        cpu_quota_us=request.query_int("cpuquota") or 0,
        cpuset_cpus=request.query("cpusetcpus"),
        cpuset_mems=request.query("cpusetmems"),
        shm_size_bytes=request.query_int("shmsize") or Limits.shm_size_bytes,
        cgroup_parent=request.query("cgroupparent"),
        ulimits=ulimits,
    )


def _json(request: Request, name: str, fault: str, shape: Shape) -> Any:
    text = request.query(name)
    if not text:
        return None
    try:
        value = go_json.parse(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{fault}: {_go_fault(text, error)}") from None
    try:
        return None if value is None else go_json.conform(value, shape, name)
    except InvalidArgument as error:
        raise InvalidArgument(f"{fault}: {error.message}") from None


def _go_fault(text: str, error: InvalidArgument) -> str:
    """What Go's decoder says in the commonest case; else what ours says."""
    stripped = text.strip()
    if stripped.startswith("{") and stripped[1:2] not in ('"', "}", ""):
        return f"invalid character '{stripped[1]}' looking for beginning of object key string"
    if stripped[:1] not in ("{", "[", '"'):
        return f"invalid character '{stripped[:1]}' looking for beginning of value"
    return error.message


def _registry_auth(header: str) -> dict[str, Any]:
    """`X-Registry-Config`: base64 JSON by registry; a malformed one counts as none, as in Docker."""
    if not header:
        return {}
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header.replace("+", "-").replace("/", "_") + "=="))
    except (binascii.Error, ValueError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


ROUTES = [Route("POST", "/build", build), Route("POST", "/build/prune", prune)]

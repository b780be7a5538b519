"""The filters of `docker ps`: which containers a list shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sampan.engine.containers.model import Container
from sampan.errors import InvalidArgument, NotFound
from sampan.spec.filters import check_known, has_label
from sampan.types.ids import is_id_prefix

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

Filters = Mapping[str, Sequence[str]]
STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_KNOWN = frozenset(
    {
        "ancestor",
        "before",
        "expose",
        "exited",
        "health",
        "id",
        "is-task",
        "label",
        "name",
        "network",
        "publish",
        "since",
    }
    | {"status", "volume", "isolation"}
)
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def select(engine: Engine, containers: list[Container], options: Mapping[str, Any]) -> list[Container]:
    """Those that pass, newest first. Without `all`, `limit`, or a filter on status or exit code: running ones only.

    Raises:
        InvalidArgument: an unknown filter or value.
    """
    filters: Filters = options.get("filters") or {}
    check(filters)
    limit = options.get("limit") or 0
    everything = bool(options.get("all")) or limit > 0 or any(filters.get(name) for name in ("status", "exited"))
    if not everything and (filters.get("before") or filters.get("since")):
        everything = True
    tests = [_TESTS[name](engine, values) for name, values in filters.items() if values]
    found = [
        each
        for each in containers
        if (everything or each.running or each.state.status == "restarting") and all(test(each) for test in tests)
    ]
    found.sort(key=lambda each: each.record.created_ns, reverse=True)
    return found[:limit] if limit > 0 else found


def check(filters: Filters) -> None:
    """
    Raises:
        InvalidArgument: in Docker's words.
    """
    check_known(filters, _KNOWN)
    for name, values in filters.items():
        for value in values:
            if name == "status" and value not in STATES:
                raise InvalidArgument(
                    f"invalid filter 'status={value}': invalid value for state ({value}): must be one of "
                    f"{', '.join(STATES)}"
                )
            if name == "health" and value not in _HEALTH:
                raise InvalidArgument(
                    f"invalid filter 'health={value}': invalid value for health status ({value}): must be one of "
                    f"{', '.join(_HEALTH)}"
                )
            if name == "exited" and not re.fullmatch(r"-?\d+", value):
                raise InvalidArgument(
                    f"invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax"
                )
            if name == "is-task" and value.lower() not in _BOOLEANS:
                raise InvalidArgument(f"invalid filter 'is-task=[{value}]'")


Test = Callable[[Container], bool]


def _ancestor(engine: Engine, values: Sequence[str]) -> Test:
    ids: set[str] = set()
    for value in values:
        image = engine.images.find(value)
        if image is not None:
            ids.add(image.id)
            ids.update(child.id for child in _descendants(engine, image.id))
    return lambda each: each.image_id in ids


def _descendants(engine: Engine, image_id: str) -> list[Any]:
    found = []
    for child in engine.images.children(image_id):
        found.append(child)
        found += _descendants(engine, child.id)
    return found


def _before(engine: Engine, values: Sequence[str]) -> Test:
    limit = _created(engine, values[0])
    return lambda each: each.record.created_ns < limit


def _since(engine: Engine, values: Sequence[str]) -> Test:
    limit = _created(engine, values[0])
    return lambda each: each.record.created_ns > limit


def _created(engine: Engine, name: str) -> int:
    try:
        return engine.containers.get(name).record.created_ns
    except NotFound as error:
        raise NotFound(error.message) from None


def _patterns(values: Iterable[str]) -> list[re.Pattern[str]]:
    """A broken regular expression matches nothing, as with Docker."""
    found = []
    for value in values:
        try:
            found.append(re.compile(value))
        except re.error:
            continue
    return found


def _names(engine: Engine, values: Sequence[str]) -> Test:
    patterns = _patterns(values)
    return lambda each: any(pattern.search(f"/{each.name}") or pattern.search(each.name) for pattern in patterns)


def _ids(engine: Engine, values: Sequence[str]) -> Test:
    plain = tuple(value for value in values if is_id_prefix(value))
    patterns = _patterns(value for value in values if not is_id_prefix(value))
    return lambda each: each.id.startswith(plain) or any(pattern.search(each.id) for pattern in patterns)


def _networks(engine: Engine, values: Sequence[str]) -> Test:
    wanted = set(values)
    for value in values:
        try:
            wanted.add(engine.networks.get(value).name)
        except NotFound:
            continue
    return lambda each: bool(wanted & set(each.record.endpoints))


def _volumes(engine: Engine, values: Sequence[str]) -> Test:
    wanted = set(values)
    return lambda each: any({mount.name, mount.source, mount.destination} & wanted for mount in each.mounts)


def _exposed(engine: Engine, values: Sequence[str]) -> Test:
    wanted = _port_set(values)
    return lambda each: bool(wanted & _keys([*(each.config["ExposedPorts"] or ()), *each.record.ports]))


def _published(engine: Engine, values: Sequence[str]) -> Test:
    wanted = _port_set(values)

    def test(each: Container) -> bool:
        found = set()
        for port, bindings in (each.record.ports or {}).items():
            protocol = port.partition("/")[2] or "tcp"
            if bindings:
                found |= _keys([port])
                found |= {(int(binding["HostPort"]), protocol) for binding in bindings}
        return bool(wanted & found)

    return test


def _port_set(values: Sequence[str]) -> set[tuple[int, str]]:
    return _keys(values)


def _keys(ports: Sequence[str]) -> set[tuple[int, str]]:
    found = set()
    for port in ports:
        numbers, _, protocol = port.partition("/")
        first, _, last = numbers.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise InvalidArgument(f"invalid port: {port}")
        found |= {(number, protocol or "tcp") for number in range(int(first), int(last or first) + 1)}
    return found


def _health(each: Container) -> str:
    return each.state.health.status if each.state.health is not None else "none"


_TESTS: dict[str, Callable[[Any, Sequence[str]], Test]] = {
    "ancestor": _ancestor,
    "before": _before,
    "since": _since,
    "expose": _exposed,
    "publish": _published,
    "exited": lambda engine, values: lambda each: each.state.status == "exited" and str(each.state.exit_code) in values,
    "health": lambda engine, values: lambda each: _health(each) in values,
    "id": _ids,
    "is-task": lambda engine, values: lambda each: not any(_BOOLEANS[value.lower()] for value in values),
    "label": lambda engine, values: lambda each: all(has_label(each.labels, text) for text in values),
    "name": _names,
    "network": _networks,
    "status": lambda engine, values: lambda each: each.state.status in values,
    "volume": _volumes,
    "isolation": lambda engine, values: lambda each: any(value in ("", "default") for value in values),
}

"""Use cases of volumes: what the API's endpoints do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.engine.object_filters import Filters, labels_match
from sampan.errors import InvalidArgument
from sampan.volumes.model import Volume

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def describe(engine: Engine, volume: Volume) -> dict[str, Any]:
    """Docker's JSON of a volume."""
    return volume.to_docker(engine.volumes.mountpoint(volume.name))


def listed(engine: Engine, filters: Filters) -> list[Volume]:
    """The volumes that pass all filters, by name.

    Raises:
        InvalidArgument: a filter that Docker does not know, or a bad value.
    """
    _check(filters, _LIST_FILTERS)
    dangling = _boolean("dangling", filters)
    found = []
    for volume in engine.volumes.list():
        if dangling is not None and dangling == bool(engine.volumes.users(volume.name)):
            continue
        if filters.get("driver") and volume.driver not in filters["driver"]:
            continue
        if filters.get("name") and not any(text in volume.name for text in filters["name"]):
            continue
        if labels_match(volume.labels, filters):
            found.append(volume)
    return found


async def prune(engine: Engine, filters: Filters, *, named_too: bool) -> dict[str, Any]:
    """Remove unused volumes: anonymous ones, and named ones by `all=true` or for clients before API 1.42."""
    _check(filters, _PRUNE_FILTERS)
    named_too = named_too or bool(_boolean("all", filters))

    def wanted(volume: Volume) -> bool:
        return (named_too or volume.anonymous) and labels_match(volume.labels, filters)

    deleted, freed_bytes = await engine.volumes.prune(wanted)
    engine.events.publish("volume", "prune", "", {"reclaimed": str(freed_bytes)})
    return {"VolumesDeleted": deleted, "SpaceReclaimed": freed_bytes}


async def disk_usage(engine: Engine) -> list[dict[str, Any]]:
    """All volumes with their sizes and numbers of users."""
    found = []
    for volume in engine.volumes.list():
        size = await asyncio.to_thread(engine.volumes.size_bytes, volume.name)
        usage = {"Size": size, "RefCount": len(engine.volumes.users(volume.name))}
        found.append({**describe(engine, volume), "UsageData": usage})
    return found


def _check(filters: Filters, known: frozenset[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")


def _boolean(name: str, filters: Filters) -> bool | None:
    values = filters.get(name, [])
    if not values:
        return None
    value = values[0].lower()
    if len(values) > 1 or value not in (*_TRUE, *_FALSE):
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(values)}]'")
    return value in _TRUE

"""Use cases of volumes: what the API's endpoints do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.spec.filters import Filters, boolean, check_known, labels_match
from sampan.volumes.model import Volume

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})


def describe(engine: Engine, volume: Volume) -> dict[str, Any]:
    """Docker's JSON of a volume."""
    return volume.to_docker(engine.volumes.mountpoint(volume.name))


def listed(engine: Engine, filters: Filters) -> list[Volume]:
    """The volumes that pass all filters, by name.

    Raises:
        InvalidArgument: a filter that Docker does not know, or a bad value.
    """
    check_known(filters, _LIST_FILTERS)
    dangling = boolean(filters, "dangling")
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
    check_known(filters, _PRUNE_FILTERS)
    named_too = named_too or bool(boolean(filters, "all"))

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

"""`docker container prune`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.engine.containers import views
from sampan.errors import Conflict, SampanError
from sampan.spec.filters import Filters, check_known, labels_match, until_ns

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_running: list[bool] = []


async def containers(engine: Engine, filters: Filters) -> dict[str, Any]:
    """Remove all that do not run and pass the filters `until`, `label`, `label!`.

    Raises:
        InvalidArgument: another filter. Conflict: a prune is under way.
    """
    check_known(filters, ("until", "label", "label!"))
    limit_ns = until_ns(filters)
    if _running:
        raise Conflict("a prune operation is already running")
    _running.append(True)
    try:
        return await _prune(engine, filters, limit_ns)
    finally:
        _running.clear()


async def _prune(engine: Engine, filters: Filters, limit_ns: int | None) -> dict[str, Any]:
    deleted: list[str] = []
    reclaimed_bytes = 0
    for container in engine.containers.all():
        if container.state.status not in ("created", "exited", "dead"):
            continue
        if limit_ns is not None and container.record.created_ns > limit_ns:
            continue
        if not labels_match(container.labels, filters):
            continue
        size_bytes, _ = await asyncio.to_thread(views.sizes, engine, container)
        try:
            await engine.containers.remove(container.id)
        except SampanError:
            continue  # it was started or removed meanwhile
        deleted.append(container.id)
        reclaimed_bytes += size_bytes
    engine.events.publish("container", "prune", "", {"reclaimed": str(reclaimed_bytes)})
    return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed_bytes}

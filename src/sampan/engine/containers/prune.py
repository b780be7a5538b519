"""`docker container prune`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sampan.engine.containers import views
from sampan.engine.containers.selection import labels_match
from sampan.errors import Conflict, InvalidArgument, SampanError

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_running: list[bool] = []


async def containers(engine: Engine, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Remove all that do not run and pass the filters `until`, `label`, `label!`.

    Raises:
        InvalidArgument: another filter. Conflict: a prune is under way.
    """
    for name in filters:
        if name not in ("until", "label", "label!"):
            raise InvalidArgument(f"invalid filter '{name}'")
    limit_s = until(filters.get("until") or [])
    if _running:
        raise Conflict("a prune operation is already running")
    _running.append(True)
    try:
        return await _prune(engine, filters, limit_s)
    finally:
        _running.clear()


async def _prune(engine: Engine, filters: Mapping[str, Sequence[str]], limit_s: float | None) -> dict[str, Any]:
    deleted: list[str] = []
    reclaimed_bytes = 0
    for container in engine.containers.all():
        if container.state.status not in ("created", "exited", "dead"):
            continue
        if limit_s is not None and container.record.created_ns / 1e9 > limit_s:
            continue
        labels, unwanted = filters.get("label") or [], filters.get("label!") or []
        if not labels_match(container.labels, labels):
            continue
        if unwanted and labels_match(container.labels, unwanted):
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


def until(values: Sequence[str]) -> float | None:
    """A Unix time, a Go duration before now, or RFC 3339, as Unix seconds.

    Raises:
        InvalidArgument: none of them, or several.
    """
    if not values:
        return None
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    text = values[0]
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return time.time() - sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"') from None

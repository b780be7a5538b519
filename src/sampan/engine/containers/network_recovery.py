"""After a start of the engine: what a running container's record says of its networks against what it has.

The lease is written first and released last, the container's record after both. So a `network connect` or `disconnect`
that was cut short shows as a lease that the record or the host's interfaces contradict; either is undone or finished by
taking the container out. A start that was cut short before its record shows as leases that the record lacks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from sampan.engine.containers import networking
from sampan.engine.containers.model import Container
from sampan.errors import NotFound, SampanError

if TYPE_CHECKING:
    from sampan.engine.engine import Engine


async def reconcile(engine: Engine, container: Container, interfaces: Collection[str]) -> None:
    """Make the record of a running container and its leases agree; `interfaces` are the host ends that exist."""
    record = container.record
    if not networking.has_own_network(record.host_config["NetworkMode"]) or record.config["NetworkDisabled"]:
        return
    wanted = _wanted(engine, container)
    leases = {each.network_id: each for each in engine.networks.endpoints_of(container.id) if each.interface}
    for network_id, endpoint in leases.items():
        name = wanted.get(network_id)
        if name is not None and endpoint.host_veth in interfaces:
            record.endpoint_states.setdefault(name, endpoint.to_docker())
        else:
            await _take_out(engine, container, network_id)
            _forget(container, name)
    for network_id in wanted.keys() - leases.keys():
        _forget(container, wanted[network_id])
    if not record.ports:
        record.ports = engine.networks.published(container.id, record.config["ExposedPorts"] or {})
    engine.containers.save(container)


def _wanted(engine: Engine, container: Container) -> dict[str, str]:
    """The names by which the record knows its networks, by id; those that are no more are left out."""
    found = {}
    for name in container.record.endpoints:
        with contextlib.suppress(NotFound):
            found[engine.networks.get(name).id] = name
    return found


async def _take_out(engine: Engine, container: Container, network_id: str) -> None:
    try:
        sandbox = engine.networks.sandbox_of(container.record.state.pid)
    except SampanError:
        return  # it has just ended, and all its leases with it
    try:
        await engine.networks.disconnect(network_id, container.id, sandbox)
    finally:
        sandbox.close()


def _forget(container: Container, name: str | None) -> None:
    if name is not None:
        container.record.endpoints.pop(name, None)
        container.record.endpoint_states.pop(name, None)

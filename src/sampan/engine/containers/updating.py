"""`docker update`: resources and restart policy of a living container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.engine.config import EngineConfig
from sampan.engine.containers import ending
from sampan.engine.containers.model import Container
from sampan.engine.containers.request import fields, resources, validation
from sampan.engine.oci import limits, runtime_config
from sampan.errors import Conflict, InvalidArgument, NotFound, SampanError
from sampan.linux.cgroup import open_cgroup

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_RESOURCES = [
    "CpuShares",
    "Memory",
    "NanoCpus",
    "BlkioWeight",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "MemoryReservation",
    "MemorySwap",
]
_REFUSED = [
    "CgroupParent",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "MemorySwappiness",
    "OomKillDisable",
    "Ulimits",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "KernelMemory",
    "KernelMemoryTCP",
]


async def update(engine: Engine, container: Container, body: Any) -> list[str]:
    """Apply what the request sets; gives warnings.

    Raises:
        InvalidArgument, Conflict: in Docker's words, with nothing changed.
    """
    if not isinstance(body, dict):
        raise InvalidArgument("invalid JSON: the body must be an object")
    wanted = fields.fill(body, fields.HOST_FIELDS, "HostConfig")
    async with container.lock:
        if container.removing or container.state.status == "dead":
            raise Conflict(_prefix(container) + 'container is marked for removal and cannot be "update"')
        changed = _changed(container, wanted)
        merged = {**container.host_config, **changed}
        _check(engine.config, container, merged, changed)
        if container.running and container.pid:
            await asyncio.to_thread(_apply, engine, container, merged, changed)
        old_policy = container.host_config["RestartPolicy"]
        container.record.host_config = merged
        if merged["RestartPolicy"] != old_policy and merged["RestartPolicy"]["Name"] == "no":
            _stop_restarting(container)
        engine.containers.save(container)
        engine.containers.publish(container, "update")
    return []


def _prefix(container: Container) -> str:
    return f"Cannot update container {container.id}: "


def _changed(container: Container, wanted: dict[str, Any]) -> dict[str, Any]:
    for name in _REFUSED:
        if wanted[name] not in (None, 0, "", [], False) and wanted[name] != container.host_config[name]:
            raise InvalidArgument(f"{name} cannot be changed on an existing container")
    changed = {name: wanted[name] for name in _RESOURCES if wanted[name]}
    if wanted["PidsLimit"] is not None:
        changed["PidsLimit"] = max(wanted["PidsLimit"], 0)
    policy = wanted["RestartPolicy"]
    if policy and policy.get("Name"):
        changed["RestartPolicy"] = {"Name": policy["Name"], "MaximumRetryCount": policy.get("MaximumRetryCount") or 0}
    if "NanoCpus" in changed:
        changed |= {"CpuPeriod": 0, "CpuQuota": 0}
    elif ("CpuPeriod" in changed or "CpuQuota" in changed) and container.host_config["NanoCpus"]:
        option = "CPU Period" if "CpuPeriod" in changed else "CPU Quota"
        raise Conflict(
            _prefix(container) + f"Conflicting options: {option} cannot be updated as NanoCPUs has already been set"
        )
    return changed


def _check(engine: EngineConfig, container: Container, merged: dict[str, Any], changed: dict[str, Any]) -> None:
    if "RestartPolicy" in changed:
        validation.check_restart_policy(changed["RestartPolicy"])
        if container.host_config["AutoRemove"] and changed["RestartPolicy"]["Name"] != "no":
            raise Conflict(
                _prefix(container) + "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
    old_swap = container.host_config["MemorySwap"]
    if "Memory" in changed and "MemorySwap" not in changed and changed["Memory"] > old_swap:
        raise Conflict(
            _prefix(container)
            + "Memory limit should be smaller than already set memoryswap limit, update the memoryswap "
            "at the same time"
        )
    given = merged
    if not changed.keys() & {"Memory", "MemorySwap"}:
        given = {**merged, "Memory": 0, "MemorySwap": 0}  # Docker holds a new reservation against a new limit only
    for check in resources.UPDATE_CHECKS:
        check(resources.Request(container.config, given, engine))


def _apply(engine: Engine, container: Container, merged: dict[str, Any], changed: dict[str, Any]) -> None:
    resources = limits.resources({**merged, "BlkioWeightDevice": None}, None)
    if "PidsLimit" in changed and changed["PidsLimit"] == 0:
        resources["pids"] = {"limit": -1}
    if not changed.keys() - {"RestartPolicy"}:
        return
    try:
        open_cgroup(runtime_config.cgroup_path(container.id, merged, engine.config)).apply(resources)
    except OSError as error:
        raise SampanError(_prefix(container) + f"failed to apply resources: {error}") from error


def _stop_restarting(container: Container) -> None:
    if container.state.status == "restarting":
        ending.cancel_restart(container)
        container.state.status = "exited"


def remove_link(engine: Engine, path: str) -> None:
    """`docker rm --link container/alias`.

    Raises:
        NotFound: no such link.
    """
    owner_name, _, alias = path.removeprefix("/").partition("/")
    owner = engine.containers.get(owner_name)
    links = owner.host_config["Links"] or []
    kept = [link for link in links if (link.partition(":")[2] or link).rpartition("/")[2] != alias]
    if not alias or len(kept) == len(links):
        raise NotFound(f"Cannot get parent {path} for name {path}")
    owner.host_config["Links"] = kept or None
    engine.containers.save(owner)

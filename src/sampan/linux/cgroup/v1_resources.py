"""OCI's LinuxResources as files of cgroup v1."""

from __future__ import annotations

import os
from typing import Any, Final

from sampan.linux.cgroup import files

CONTROLLERS: Final = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls", "net_prio",
    "perf_event", "rdma", "misc",
)  # fmt: skip


def apply(paths: dict[str, str], resources: dict[str, Any]) -> None:
    """Write what `resources` names into the directories `paths` (by controller); None values are left alone."""
    _devices(paths, resources.get("devices") or [])
    _memory(paths, resources.get("memory") or {})
    _cpu(paths, resources.get("cpu") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        _set(paths, "pids", "pids.max", "max" if pids < 0 else max(pids, 1))
    _blkio(paths, resources.get("blockIO") or {})
    for limit in resources.get("hugepageLimits") or []:
        _set(paths, "hugetlb", f"hugetlb.{limit['pageSize']}.limit_in_bytes", limit["limit"])
    network = resources.get("network") or {}
    if network.get("classID") is not None:
        _set(paths, "net_cls", "net_cls.classid", network["classID"])
    for priority in network.get("priorities") or []:
        _set(paths, "net_prio", "net_prio.ifpriomap", f"{priority['name']} {priority['priority']}")


def _set(paths: dict[str, str], controller: str, name: str, value: str | int) -> None:
    directory = paths.get(controller)
    if directory is None:
        raise OSError(2, f"cgroup v1 controller {controller} is not mounted", name)
    files.write(f"{directory}/{name}", value)


def _devices(paths: dict[str, str], rules: list[dict[str, Any]]) -> None:
    if "devices" not in paths:
        return
    for rule in rules:
        kind = rule.get("type") or "a"
        name = "devices.allow" if rule.get("allow") else "devices.deny"
        if kind == "a":
            _set(paths, "devices", name, "a")
            continue
        major, minor = (_number(rule.get(key)) for key in ("major", "minor"))
        _set(paths, "devices", name, f"{kind} {major}:{minor} {rule.get('access') or 'rwm'}")


def _number(value: int | None) -> str:
    return "*" if value is None or value < 0 else str(value)


def _memory(paths: dict[str, str], memory: dict[str, Any]) -> None:
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit == -1 and swap is None:
        swap = -1
    writes = []
    if limit is not None and limit != 0:
        writes.append(("memory.limit_in_bytes", limit))
    if swap is not None and swap != 0:
        writes.append(("memory.memsw.limit_in_bytes", swap))
    if len(writes) == 2 and swap is not None:
        # memsw may never be below limit: raise memsw first when it grows.
        current = files.read_int(f"{paths.get('memory', '')}/memory.memsw.limit_in_bytes")
        if swap == -1 or (limit is not None and limit != -1 and current < limit):
            writes.reverse()
    for name, value in writes:
        if name.startswith("memory.memsw") and not os.path.exists(f"{paths.get('memory', '')}/{name}"):
            continue  # a kernel booted without swap accounting
        _set(paths, "memory", name, value)
    if memory.get("reservation"):
        _set(paths, "memory", "memory.soft_limit_in_bytes", memory["reservation"])
    if memory.get("kernelTCP"):
        _set(paths, "memory", "memory.kmem.tcp.limit_in_bytes", memory["kernelTCP"])
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness != -1:
        _set(paths, "memory", "memory.swappiness", swappiness)
    if memory.get("disableOOMKiller"):
        _set(paths, "memory", "memory.oom_control", 1)


def _cpu(paths: dict[str, str], cpu: dict[str, Any]) -> None:
    if cpu.get("shares"):
        _set(paths, "cpu", "cpu.shares", cpu["shares"])
    for key, name in (("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us")):
        if cpu.get(key):
            _set(paths, "cpu", name, cpu[key])
    if cpu.get("period"):
        _set(paths, "cpu", "cpu.cfs_period_us", cpu["period"])
    if cpu.get("quota"):
        _set(paths, "cpu", "cpu.cfs_quota_us", cpu["quota"])
    if cpu.get("burst") is not None:
        _set(paths, "cpu", "cpu.cfs_burst_us", cpu["burst"])
    if cpu.get("idle") is not None:
        _set(paths, "cpu", "cpu.idle", cpu["idle"])
    for key in ("cpus", "mems"):
        if cpu.get(key):
            _set(paths, "cpuset", f"cpuset.{key}", cpu[key])


_THROTTLES: Final = {
    "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
}


def _blkio(paths: dict[str, str], blkio: dict[str, Any]) -> None:
    # The bfq scheduler's file, or the one that CFQ had before Linux 5.0.
    prefix = "blkio.bfq" if os.path.exists(f"{paths.get('blkio', '')}/blkio.bfq.weight") else "blkio"
    if blkio.get("weight"):
        _set(paths, "blkio", f"{prefix}.weight", blkio["weight"])
    if blkio.get("leafWeight"):
        _set(paths, "blkio", "blkio.leaf_weight", blkio["leafWeight"])
    for device in blkio.get("weightDevice") or []:
        _set(paths, "blkio", f"{prefix}.weight_device", f"{device['major']}:{device['minor']} {device['weight']}")
    for key, name in _THROTTLES.items():
        for device in blkio.get(key) or []:
            _set(paths, "blkio", name, f"{device['major']}:{device['minor']} {device['rate']}")

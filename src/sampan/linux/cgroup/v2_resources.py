"""OCI's LinuxResources as files of cgroup v2, converted where the units differ as runc and crun convert them."""

from __future__ import annotations

import os
from typing import Any, Final

from sampan.linux.cgroup import files
from sampan.linux.cgroup.devices_bpf import attach_device_filter


def apply(directory: str, resources: dict[str, Any]) -> None:
    """Write what `resources` names into the group at `directory`; `unified` last, so that it has the last word."""
    if resources.get("devices"):
        attach_device_filter(directory, resources["devices"])
    _memory(directory, resources.get("memory") or {})
    _cpu(directory, resources.get("cpu") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        files.write(f"{directory}/pids.max", "max" if pids < 0 else max(pids, 1))
    _io(directory, resources.get("blockIO") or {})
    for limit in resources.get("hugepageLimits") or []:
        files.write(f"{directory}/hugetlb.{limit['pageSize']}.max", limit["limit"])
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name:
            raise OSError(22, "unified resource must be a file name", name)
        files.write(f"{directory}/{name}", value)


def weight_of_shares(shares: int) -> int:
    """cpu.weight for v1's cpu.shares: [2, 262144] mapped linearly on [1, 10000]."""
    return 0 if shares == 0 else 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _limit(value: int) -> str | int:
    return "max" if value < 0 else value


def _memory(directory: str, memory: dict[str, Any]) -> None:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if swap:
        # OCI counts memory and swap together, v2 counts swap alone.
        alone = -1 if swap < 0 else swap - limit if limit > 0 else swap
        if alone < 0 and swap > 0:
            raise OSError(22, "memory+swap limit is lower than the memory limit", directory)
        if os.path.exists(f"{directory}/memory.swap.max"):
            files.write(f"{directory}/memory.swap.max", _limit(alone))
    elif limit < 0 and os.path.exists(f"{directory}/memory.swap.max"):
        files.write(f"{directory}/memory.swap.max", "max")
    if limit:
        files.write(f"{directory}/memory.max", _limit(limit))
    if memory.get("reservation"):
        files.write(f"{directory}/memory.low", _limit(memory["reservation"]))


def _cpu(directory: str, cpu: dict[str, Any]) -> None:
    if cpu.get("shares"):
        files.write(f"{directory}/cpu.weight", weight_of_shares(cpu["shares"]))
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        text = "max" if not quota or quota < 0 else str(quota)
        files.write(f"{directory}/cpu.max", f"{text} {period or 100000}")
    if cpu.get("burst") is not None:
        files.write(f"{directory}/cpu.max.burst", cpu["burst"])
    if cpu.get("idle") is not None:
        files.write(f"{directory}/cpu.idle", cpu["idle"])
    for key in ("cpus", "mems"):
        if cpu.get(key):
            files.write(f"{directory}/cpuset.{key}", cpu[key])


_THROTTLES: Final = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


def _io(directory: str, block_io: dict[str, Any]) -> None:
    weight = block_io.get("weight")
    if weight:
        if os.path.exists(f"{directory}/io.bfq.weight"):
            files.write(f"{directory}/io.bfq.weight", weight)
        else:
            files.write(f"{directory}/io.weight", 1 + (weight - 10) * 9999 // 990)
    for device in block_io.get("weightDevice") or []:
        files.write(f"{directory}/io.bfq.weight", f"{device['major']}:{device['minor']} {device['weight']}")
    for key, name in _THROTTLES.items():
        for device in block_io.get(key) or []:
            files.write(f"{directory}/io.max", f"{device['major']}:{device['minor']} {name}={device['rate']}")

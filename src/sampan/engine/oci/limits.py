"""Docker's resource options as OCI LinuxResources and rlimits. Pure, but for device numbers of block devices."""

from __future__ import annotations

import os
from typing import Any

from sampan.engine.config import EngineConfig
from sampan.errors import InvalidArgument

_CPU_PERIOD_US = 100_000
_BLKIO_LISTS = {
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}


def resources(host: dict[str, Any], engine: EngineConfig | None) -> dict[str, Any]:
    """LinuxResources without devices; only what the request (or the engine's default) sets.

    Raises:
        InvalidArgument: a path that is no block device.
    """
    found: dict[str, Any] = {}
    for name, part in (("memory", _memory(host)), ("cpu", _cpu(host)), ("blockIO", _block_io(host))):
        if part:
            found[name] = part
    limit = host["PidsLimit"]
    if limit is None and engine is not None and engine.default_pids_limit > 0:
        limit = engine.default_pids_limit
    if limit is not None:
        found["pids"] = {"limit": limit if limit > 0 else -1}
    return found


def _memory(host: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if host["Memory"]:
        found["limit"] = host["Memory"]
    if host["MemoryReservation"]:
        found["reservation"] = host["MemoryReservation"]
    if host["MemorySwap"]:
        found["swap"] = host["MemorySwap"]
    if host["MemorySwappiness"] not in (None, -1):
        found["swappiness"] = host["MemorySwappiness"]
    if host["OomKillDisable"]:
        found["disableOOMKiller"] = True
    return found


def _cpu(host: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if host["NanoCpus"]:
        found["period"], found["quota"] = _CPU_PERIOD_US, host["NanoCpus"] * _CPU_PERIOD_US // 1_000_000_000
    for ours, theirs in (
        ("CpuShares", "shares"),
        ("CpuPeriod", "period"),
        ("CpuQuota", "quota"),
        ("CpuRealtimePeriod", "realtimePeriod"),
        ("CpuRealtimeRuntime", "realtimeRuntime"),
        ("CpusetCpus", "cpus"),
        ("CpusetMems", "mems"),
    ):
        if host[ours]:
            found[theirs] = host[ours]
    return found


def _block_io(host: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if host["BlkioWeight"]:
        found["weight"] = host["BlkioWeight"]
    if host["BlkioWeightDevice"]:
        found["weightDevice"] = [{**_device(each), "weight": each["Weight"]} for each in host["BlkioWeightDevice"]]
    for ours, theirs in _BLKIO_LISTS.items():
        if host[ours]:
            found[theirs] = [{**_device(each), "rate": each["Rate"]} for each in host[ours]]
    return found


def _device(entry: dict[str, Any]) -> dict[str, int]:
    try:
        number = os.stat(entry["Path"]).st_rdev
    except OSError as error:
        raise InvalidArgument(f"stat {entry['Path']}: {error.strerror}") from None
    return {"major": os.major(number), "minor": os.minor(number)}


def rlimits(host: dict[str, Any], engine: EngineConfig) -> list[dict[str, Any]]:
    """The request's, over the engine's defaults."""
    merged = {name: (limit.soft, limit.hard) for name, limit in engine.default_ulimits.items()}
    merged |= {each["Name"]: (each.get("Soft") or 0, each.get("Hard") or 0) for each in host["Ulimits"] or ()}
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": _unsigned(soft), "hard": _unsigned(hard)}
        for name, (soft, hard) in merged.items()
    ]


def _unsigned(value: int) -> int:
    """-1 is RLIM_INFINITY, which OCI's uint64 writes out."""
    return value & 0xFFFF_FFFF_FFFF_FFFF

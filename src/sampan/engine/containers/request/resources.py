"""Checks of a create request's resources, in Docker's words; `CHECKS` is their order."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.engine.config import EngineConfig
from sampan.engine.containers.request.cpu_lists import cpuset, online
from sampan.errors import InvalidArgument

MIN_MEMORY_BYTES = 6 << 20
RLIMITS = frozenset(
    [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


class Request(NamedTuple):
    """`config` and `host` with all fields filled in."""

    config: dict[str, Any]
    host: dict[str, Any]
    engine: EngineConfig


Check = Callable[[Request], str | None]


def memory(request: Request) -> str | None:
    host = request.host
    memory, swap, reservation = host["Memory"], host["MemorySwap"], host["MemoryReservation"]
    if host["KernelMemory"] or host["KernelMemoryTCP"]:
        raise InvalidArgument("kernel memory limits are not supported: the kernel accounts them to the memory limit")
    if memory < 0 or (0 < memory < MIN_MEMORY_BYTES):
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < reservation < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if memory and reservation > memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    swappiness = host["MemorySwappiness"]
    if swappiness is not None and swappiness != -1 and not 0 <= swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if host["OomKillDisable"] and not memory:
        return (
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
            "running out of resources."
        )
    return None


def cpu(request: Request) -> None:
    host = request.host
    count = len(online("cpu"))
    if host["NanoCpus"] and host["CpuPeriod"]:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host["NanoCpus"] and host["CpuQuota"]:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if not 0 <= host["NanoCpus"] <= count * 1_000_000_000:
        raise InvalidArgument(f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host["CpuPeriod"] and not 1000 <= host["CpuPeriod"] <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host["CpuQuota"] < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["CpuShares"] < 0:
        raise InvalidArgument(f"invalid CPU shares ({host['CpuShares']}): value must be a positive integer")
    for name in ("CpuRealtimePeriod", "CpuRealtimeRuntime"):
        if host[name] and not os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
            raise InvalidArgument("kernel does not support CPU real-time scheduler")
    if host["CpuRealtimeRuntime"] > host["CpuRealtimePeriod"] > 0:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def cpusets(request: Request) -> None:
    for name, text, kind in (("CpusetCpus", "CPUs", "cpu"), ("CpusetMems", "memory nodes", "node")):
        value = request.host[name]
        if not value:
            continue
        try:
            wanted = cpuset(value)
        except ValueError as error:
            raise InvalidArgument(
                f"Invalid value {value} for cpuset {'cpus' if kind == 'cpu' else 'mems'}: {error}"
            ) from None
        available = online(kind)
        if not wanted <= available:
            raise InvalidArgument(
                f"Requested {text} are not available - requested {value}, available: {_listed(available)}"
            )


def _listed(numbers: set[int]) -> str:
    ordered = sorted(numbers)
    if ordered and ordered[-1] - ordered[0] + 1 == len(ordered) and len(ordered) > 1:
        return f"{ordered[0]}-{ordered[-1]}"
    return ",".join(map(str, ordered))


def blkio(request: Request) -> str | None:
    """Weights that the kernel cannot take are dropped with a warning, as Docker does."""
    host = request.host
    _check_blkio(host)
    warning = None
    if host["BlkioWeight"] and not _kernel_takes("blkio.weight", "blkio.bfq.weight"):
        host["BlkioWeight"] = 0
        warning = _NO_WEIGHT.format("weight", "Weight")
    if host["BlkioWeightDevice"] and not _kernel_takes("blkio.weight_device"):
        host["BlkioWeightDevice"] = None
        warning = _NO_WEIGHT.format("weight_device", "Weight-device")
    return warning


def _check_blkio(host: dict[str, Any]) -> None:
    if host["BlkioWeight"] and not 10 <= host["BlkioWeight"] <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for device in host["BlkioWeightDevice"] or ():
        if not 10 <= (device.get("Weight") or 0) <= 1000:
            raise InvalidArgument("Range of blkio weight is from 10 to 1000")
        _block_device(device.get("Path", ""))
    for name in ("BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"):
        for device in host[name] or ():
            _block_device(device.get("Path", ""))


_V1_BLKIO = "/sys/fs/cgroup/blkio"
_NO_WEIGHT = "Your kernel does not support Block I/O {} or the cgroup is not mounted. {} discarded."


def _kernel_takes(*names: str) -> bool:
    """cgroup v2 alone shows its files only below the root: there the write itself tells."""
    return not os.path.isdir(_V1_BLKIO) or any(os.path.exists(f"{_V1_BLKIO}/{name}") for name in names)


def _block_device(path: str) -> None:
    if not os.path.exists(path):
        raise InvalidArgument(f"stat {path}: no such file or directory")


def limits(request: Request) -> None:
    host = request.host
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise InvalidArgument(f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]")
    if host["ShmSize"] < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    for ulimit in host["Ulimits"] or ():
        if ulimit.get("Name") not in RLIMITS:
            raise InvalidArgument(f"invalid ulimit type: {ulimit.get('Name')}")
        soft, hard = ulimit.get("Soft") or 0, ulimit.get("Hard") or 0
        if hard != -1 and (soft == -1 or soft > hard):
            raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    if host["ConsoleSize"] is not None and len(host["ConsoleSize"]) != 2:
        raise InvalidArgument("invalid JSON: ConsoleSize must be [height, width]")


def windows_only(request: Request) -> None:
    for name in ("CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth"):
        if request.host[name]:
            raise InvalidArgument(f"invalid option: {name} is only supported on Windows")


CHECKS: list[Check] = [windows_only, memory, cpu, cpusets, blkio, limits]
UPDATE_CHECKS: list[Check] = [memory, cpu, cpusets, blkio]

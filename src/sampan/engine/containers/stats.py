"""Docker's stats of a container, from its cgroup and its network namespace."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from sampan.engine.containers.model import Container
from sampan.engine.host import memory_total_bytes
from sampan.engine.oci.runtime_config import cgroup_path
from sampan.linux.cgroup import open_cgroup
from sampan.types.times import ZERO_TIME, rfc3339

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

Sample = dict[str, Any]
_UNLIMITED = 1 << 62
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BLKIO = {
    "io_service_bytes_recursive": "io_service_bytes_recursive",
    "io_serviced_recursive": "io_serviced_recursive",
    "io_queue_recursive": "io_queue_recursive",
    "io_service_time_recursive": "io_service_time_recursive",
    "io_wait_time_recursive": "io_wait_time_recursive",
    "io_merged_recursive": "io_merged_recursive",
    "io_time_recursive": "io_time_recursive",
    "sectors_recursive": "sectors_recursive",
}


def sample(engine: Engine, container: Container) -> Sample:
    """What the kernel says now, in Docker's form, without the previous sample. Blocking, for well below a millisecond.

    A container that does not run gives zeros and the time of year 1.
    """
    if not container.running or not container.pid:
        return _empty(container)
    try:
        found = open_cgroup(cgroup_path(container.id, container.host_config, engine.config)).stats()
    except OSError:
        return _empty(container)
    sampled: Sample = {
        "name": f"/{container.name}",
        "id": container.id,
        "read": rfc3339(time.time_ns()),
        "preread": ZERO_TIME,
        "pids_stats": _pids(found),
        "blkio_stats": {name: _blkio(found, key) for name, key in _BLKIO.items()},
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(found),
        "precpu_stats": _no_cpu(),
        "memory_stats": _memory(found),
    }
    if container.host_config["NetworkMode"] != "host":
        networks = _networks(container.pid)
        if networks:
            sampled["networks"] = networks
    if found.get("pressure"):
        sampled["pressure"] = found["pressure"]
    return sampled


def following(current: Sample, previous: Sample | None) -> Sample:
    """A sample with the one before it."""
    if previous is not None:
        current = {**current, "preread": previous["read"], "precpu_stats": previous["cpu_stats"]}
    return current


def _empty(container: Container) -> Sample:
    return {
        "name": f"/{container.name}",
        "id": container.id,
        "read": ZERO_TIME,
        "preread": ZERO_TIME,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLKIO),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _no_cpu(),
        "precpu_stats": _no_cpu(),
        "memory_stats": {},
    }


def _no_cpu() -> dict[str, Any]:
    return {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def _cpu(found: dict[str, Any]) -> dict[str, Any]:
    throttle = found.get("throttle") or {}
    usage: dict[str, Any] = {
        "total_usage": found.get("cpu_usage_ns", 0),
        "usage_in_kernelmode": found.get("cpu_system_ns", 0),
        "usage_in_usermode": found.get("cpu_user_ns", 0),
    }
    if found.get("percpu_ns"):
        usage["percpu_usage"] = found["percpu_ns"]
    return {
        "cpu_usage": usage,
        "system_cpu_usage": _system_cpu_ns(),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": throttle.get("periods", 0),
            "throttled_periods": throttle.get("throttled_periods", 0),
            "throttled_time": throttle.get("throttled_time_ns", 0),
        },
    }


def _system_cpu_ns() -> int:
    """All CPU time of the host since its boot but idle's share is in it: clients divide by this."""
    with open("/proc/stat", "rb") as file:
        fields = file.readline().split()[1:8]
    return sum(map(int, fields)) * 1_000_000_000 // _TICKS_PER_S


def _pids(found: dict[str, Any]) -> dict[str, int]:
    pids = found.get("pids") or {}
    limit = pids.get("limit")
    shown = {"current": pids.get("current", 0)}
    if isinstance(limit, int) and 0 < limit < _UNLIMITED:
        shown["limit"] = limit
    else:
        shown["limit"] = 18446744073709551615
    return shown


def _memory(found: dict[str, Any]) -> dict[str, Any]:
    memory = found.get("memory") or {}
    limit = memory.get("limit")
    shown = {
        "usage": memory.get("usage", 0),
        "max_usage": memory.get("max_usage", 0),
        "stats": memory.get("stats") or {},
        "limit": limit if isinstance(limit, int) and 0 < limit < _UNLIMITED else memory_total_bytes(),
    }
    if memory.get("failcnt"):
        shown["failcnt"] = memory["failcnt"]
    if not shown["max_usage"]:
        del shown["max_usage"]
    return shown


def _blkio(found: dict[str, Any], key: str) -> list[dict[str, Any]] | None:
    entries = (found.get("blkio") or {}).get(key)
    return [{"major": e["major"], "minor": e["minor"], "op": e["op"], "value": e["value"]} for e in entries or ()]


def _networks(pid: int) -> dict[str, dict[str, int]]:
    """Counters of the interfaces that the process sees, without lo."""
    found = {}
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            lines = file.readlines()[2:]
    except OSError:
        return {}
    for line in lines:
        name, _, rest = line.partition(":")
        name = name.strip()
        if name == "lo":
            continue
        n = list(map(int, rest.split()))
        found[name] = {
            "rx_bytes": n[0],
            "rx_packets": n[1],
            "rx_errors": n[2],
            "rx_dropped": n[3],
            "tx_bytes": n[8],
            "tx_packets": n[9],
            "tx_errors": n[10],
            "tx_dropped": n[11],
        }
    return found

"""Usage figures of a cgroup v2 group, under the neutral keys that `Cgroup.stats` promises."""

from __future__ import annotations

from typing import Any

from sampan.linux.cgroup import files


def collect(directory: str) -> dict[str, Any]:
    """Times in nanoseconds, sizes in bytes; v2 has no figures per cpu."""
    cpu = files.read_table(f"{directory}/cpu.stat")
    limit = files.read(f"{directory}/pids.max")
    return {
        "cpu_usage_ns": cpu.get("usage_usec", 0) * 1000,
        "cpu_user_ns": cpu.get("user_usec", 0) * 1000,
        "cpu_system_ns": cpu.get("system_usec", 0) * 1000,
        "percpu_ns": [],
        "throttle": {
            "periods": cpu.get("nr_periods", 0),
            "throttled_periods": cpu.get("nr_throttled", 0),
            "throttled_time_ns": cpu.get("throttled_usec", 0) * 1000,
        },
        "memory": _memory(directory),
        "pids": {
            "current": files.read_int(f"{directory}/pids.current"),
            "limit": int(limit) if limit.isdigit() else 0,
        },
        "blkio": _io(directory),
    }


def _memory(directory: str) -> dict[str, Any]:
    events = files.read_table(f"{directory}/memory.events")
    return {
        "usage": files.read_int(f"{directory}/memory.current"),
        "max_usage": files.read_int(f"{directory}/memory.peak"),
        "limit": files.read_int(f"{directory}/memory.max"),
        "failcnt": events.get("max", 0),
        "swap_usage": files.read_int(f"{directory}/memory.swap.current"),
        "swap_limit": files.read_int(f"{directory}/memory.swap.max"),
        "stats": files.read_table(f"{directory}/memory.stat"),
    }


def _io(directory: str) -> dict[str, list[dict[str, Any]]]:
    names = {"rbytes": ("io_service_bytes_recursive", "read"), "wbytes": ("io_service_bytes_recursive", "write"),
             "rios": ("io_serviced_recursive", "read"), "wios": ("io_serviced_recursive", "write")}  # fmt: skip
    result: dict[str, list[dict[str, Any]]] = {"io_service_bytes_recursive": [], "io_serviced_recursive": []}
    for line in files.read(f"{directory}/io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in names and value.isdigit():
                target, operation = names[key]
                entry = {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                result[target].append(entry)
    return result

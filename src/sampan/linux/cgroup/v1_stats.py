"""Usage figures of a cgroup v1 group, under the neutral keys that `Cgroup.stats` promises."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sampan.linux.cgroup import files

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def collect(paths: dict[str, str], pids: Callable[[], list[int]]) -> dict[str, Any]:
    """Times in nanoseconds, sizes in bytes; figures of controllers that are not mounted are 0 or empty."""
    return {**_cpu(paths), "memory": _memory(paths), "pids": _pids(paths, pids), "blkio": _blkio(paths)}


def _cpu(paths: dict[str, str]) -> dict[str, Any]:
    account = paths.get("cpuacct", "")
    throttle = files.read_table(f"{paths.get('cpu', '')}/cpu.stat")
    ticks = files.read_table(f"{account}/cpuacct.stat")
    return {
        "cpu_usage_ns": files.read_int(f"{account}/cpuacct.usage"),
        "cpu_user_ns": ticks.get("user", 0) * _NS_PER_TICK,
        "cpu_system_ns": ticks.get("system", 0) * _NS_PER_TICK,
        "percpu_ns": [int(one) for one in files.read(f"{account}/cpuacct.usage_percpu").split()],
        "throttle": {
            "periods": throttle.get("nr_periods", 0),
            "throttled_periods": throttle.get("nr_throttled", 0),
            "throttled_time_ns": throttle.get("throttled_time", 0),
        },
    }


def _memory(paths: dict[str, str]) -> dict[str, Any]:
    directory = paths.get("memory", "")
    figures = {
        "usage": "memory.usage_in_bytes",
        "max_usage": "memory.max_usage_in_bytes",
        "limit": "memory.limit_in_bytes",
        "failcnt": "memory.failcnt",
        "swap_usage": "memory.memsw.usage_in_bytes",
        "swap_limit": "memory.memsw.limit_in_bytes",
    }
    memory: dict[str, Any] = {key: files.read_int(f"{directory}/{name}") for key, name in figures.items()}
    memory["stats"] = files.read_table(f"{directory}/memory.stat")
    return memory


def _pids(paths: dict[str, str], pids: Callable[[], list[int]]) -> dict[str, int]:
    directory = paths.get("pids")
    if directory is None:
        return {"current": len(pids()), "limit": 0}
    limit = files.read(f"{directory}/pids.max")
    return {"current": files.read_int(f"{directory}/pids.current"), "limit": int(limit) if limit.isdigit() else 0}


def _blkio(paths: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    directory = paths.get("blkio", "")
    result = {}
    for key in ("io_service_bytes_recursive", "io_serviced_recursive"):
        name = key.removesuffix("_recursive")
        text = files.read(f"{directory}/blkio.throttle.{key}") or files.read(f"{directory}/blkio.throttle.{name}")
        result[key] = _per_device(text)
    return result


def _per_device(text: str) -> list[dict[str, Any]]:
    entries = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and ":" in fields[0]:
            major, _, minor = fields[0].partition(":")
            entries.append({"major": int(major), "minor": int(minor), "op": fields[1], "value": int(fields[2])})
    return entries

"""What `stats` shows, computed from the API's counters as Docker's client does."""

from __future__ import annotations

from sampan.cli.listing import Listing
from sampan.types.sizes import binary_size, decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Sample:
    """The figures of one container; all zero until the first `update` with a running container."""

    def __init__(self, asked_for: str) -> None:
        self.asked_for = asked_for
        self.container_id = asked_for
        self.name = "--"
        self.cpu_percent = 0.0
        self.memory_bytes = 0.0
        self.memory_limit_bytes = 0.0
        self.network_bytes = (0, 0)
        self.block_bytes = (0, 0)
        self.pids = 0
        self.updates = 0

    @property
    def memory_percent(self) -> float:
        return self.memory_bytes / self.memory_limit_bytes * 100 if self.memory_limit_bytes else 0.0

    def update(self, answer: dict[str, Any]) -> None:
        self.updates += 1
        self.container_id = answer.get("id") or self.container_id
        self.name = (answer.get("name") or self.name).removeprefix("/")
        self.cpu_percent = cpu_percent(answer.get("precpu_stats") or {}, answer.get("cpu_stats") or {})
        memory = answer.get("memory_stats") or {}
        self.memory_bytes = memory_without_cache(memory)
        self.memory_limit_bytes = float(memory.get("limit") or 0)
        networks = (answer.get("networks") or {}).values()
        self.network_bytes = (sum(net["rx_bytes"] for net in networks), sum(net["tx_bytes"] for net in networks))
        entries = (answer.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
        self.block_bytes = (_sum(entries, "r"), _sum(entries, "w"))
        self.pids = (answer.get("pids_stats") or {}).get("current") or 0


def _sum(entries: list[dict[str, Any]], initial: str) -> int:
    return sum(entry["value"] for entry in entries if entry.get("op", "")[:1].lower() == initial)


def cpu_percent(before: dict[str, Any], now: dict[str, Any]) -> float:
    """Share of the host's CPU time between two readings, times the number of CPUs."""
    usage, usage_before = now.get("cpu_usage") or {}, before.get("cpu_usage") or {}
    container = float(usage.get("total_usage") or 0) - float(usage_before.get("total_usage") or 0)
    system = float(now.get("system_cpu_usage") or 0) - float(before.get("system_cpu_usage") or 0)
    cpus = float(now.get("online_cpus") or len(usage.get("percpu_usage") or ()))
    return container / system * cpus * 100 if system > 0 and container > 0 else 0.0


def memory_without_cache(memory: dict[str, Any]) -> float:
    """Usage without the page cache that can be dropped (cgroup v1: total_inactive_file, v2: inactive_file)."""
    usage = float(memory.get("usage") or 0)
    stats = memory.get("stats") or {}
    for key in ("total_inactive_file", "inactive_file"):
        if key in stats and stats[key] < usage:
            return float(usage - stats[key])
    return usage


def stats_listing(*, truncate: bool) -> Listing:
    return Listing(
        {
            "Container": ("CONTAINER", lambda s: s.asked_for),
            "Name": ("NAME", lambda s: s.name),
            "ID": ("CONTAINER ID", lambda s: s.container_id[:12] if truncate else s.container_id),
            "CPUPerc": ("CPU %", lambda s: f"{s.cpu_percent:.2f}%"),
            "MemUsage": (
                "MEM USAGE / LIMIT",
                lambda s: f"{binary_size(s.memory_bytes)} / {binary_size(s.memory_limit_bytes)}",
            ),
            "MemPerc": ("MEM %", lambda s: f"{s.memory_percent:.2f}%"),
            "NetIO": ("NET I/O", lambda s: _pair(s.network_bytes)),
            "BlockIO": ("BLOCK I/O", lambda s: _pair(s.block_bytes)),
            "PIDs": ("PIDS", lambda s: str(s.pids)),
        },
        ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
    )


def _pair(sizes: tuple[int, int]) -> str:
    return f"{decimal_size(sizes[0], 3)} / {decimal_size(sizes[1], 3)}"

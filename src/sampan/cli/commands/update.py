"""`sampan update`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

_NUMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}
_TEXTS = {"cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems"}

FLAGS = """
    --blkio-weight uint16        Relative weight of block I/O, 10 to 1000, 0 for none (default 0)
    --cpu-period int             Length of a CFS period in microseconds
    --cpu-quota int              CPU time in each CFS period in microseconds
    --cpu-rt-period int          Length of a real-time period in microseconds
    --cpu-rt-runtime int         Real-time CPU in each period in microseconds
-c, --cpu-shares int             Relative weight of CPU time
    --cpus decimal               Number of CPUs
    --cpuset-cpus string         CPUs to run on (0-3, 0,1)
    --cpuset-mems string         Memory nodes to use (0-3, 0,1)
-m, --memory bytes               Limit of memory
    --memory-reservation bytes   Memory to keep for it when memory gets short
    --memory-swap bytes          Limit of memory and swap together; -1 for no limit
    --pids-limit int             Limit of processes, -1 for none
    --restart string             When to start it again: no, on-failure[:n], always, unless-stopped
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.create_options import parse_restart

    given = {key: options.number(flag) for flag, key in _NUMBERS.items() if options.changed(flag)}
    body: dict[str, object] = dict(given)
    body.update((key, options.text(flag)) for flag, key in _TEXTS.items() if options.changed(flag))
    if options.changed("restart"):
        body["RestartPolicy"] = parse_restart(options.text("restart"))
    if not body:
        raise InvalidArgument("you must provide one or more flags when using this command")
    containers = context.engine.containers
    warnings: list[str] = []
    code = for_each(
        context, arguments, lambda name: warnings.extend(containers.update(name, body).get("Warnings") or [])
    )
    for warning in warnings:
        context.warn(f"WARNING: {warning}")
    return code


COMMAND = Command(run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, FLAGS, completes="all containers")

"""cgroup v1 and hybrid: one directory per hierarchy (Documentation/admin-guide/cgroup-v1/)."""

from __future__ import annotations

import os
import time
from typing import Any

from sampan.linux.cgroup import files, v1_resources, v1_stats

_hierarchies: dict[str, str] = {}


def hierarchies() -> dict[str, str]:
    """Mount point by controller, for each v1 hierarchy that is mounted; `name=systemd` counts, so that a service
    manager does not take containers for processes of the service that started them."""
    if not _hierarchies:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                fields = right.split()
                if fields[0] != "cgroup":
                    continue
                mount_point = left.split()[4]
                for option in fields[2].split(","):
                    if option in v1_resources.CONTROLLERS or option == "name=systemd":
                        _hierarchies.setdefault(option, mount_point)
    return _hierarchies


_FREEZE_SPINS = 50
_FREEZE_PAUSE_S = 0.0005


class CgroupV1:
    """See `sampan.linux.cgroup.interfaces.Cgroup`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._paths = {name: mount_point + path for name, mount_point in hierarchies().items()}
        # Controllers mounted together share one directory.
        self._directories = list(dict.fromkeys(self._paths.values()))

    def paths(self) -> dict[str, str]:
        return self._paths

    def create(self) -> None:
        for directory in self._directories:
            try:
                os.mkdir(directory, 0o755)
            except FileExistsError:
                pass
            except FileNotFoundError:
                os.makedirs(directory, 0o755, exist_ok=True)
        if "cpuset" in self._paths:
            _inherit_cpuset(self._paths["cpuset"], hierarchies()["cpuset"])

    def exists(self) -> bool:
        return any(os.path.isdir(directory) for directory in self._directories)

    def apply(self, resources: dict[str, Any]) -> None:
        v1_resources.apply(self._paths, resources)

    def add(self, pid: int) -> None:
        for directory in self._directories:
            files.write(f"{directory}/cgroup.procs", pid)

    def fd(self) -> int | None:
        return None

    def join_files(self, *, always: bool = False) -> list[int]:
        del always
        # `tasks`, not `cgroup.procs`: a thread that moves itself takes no global lock (cgroup_procs_write_start),
        # which saves an RCU grace period in each hierarchy.
        descriptors: list[int] = []
        try:
            for directory in self._directories:
                descriptors.append(os.open(f"{directory}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return descriptors

    def freeze(self) -> None:
        path = f"{self._paths['freezer']}/freezer.state"
        for attempt in range(1, 1001):
            files.write(path, "FROZEN")
            # The kernel reports FREEZING while a task is between two states; writing again moves it on.
            if files.read(path) == "FROZEN":
                return
            if attempt % 100 == 0:  # a task may wait for one that is frozen already (runc, fs/freezer.go)
                files.write(path, "THAWED")
            time.sleep(_FREEZE_PAUSE_S if attempt > _FREEZE_SPINS else 0)
        files.write(path, "THAWED")
        raise OSError(16, "the processes do not freeze", path)

    def thaw(self) -> None:
        if "freezer" in self._paths and self.frozen():
            files.write(f"{self._paths['freezer']}/freezer.state", "THAWED")

    def frozen(self) -> bool:
        return files.read(f"{self._paths.get('freezer', '')}/freezer.state", "THAWED") != "THAWED"

    def pids(self) -> list[int]:
        for name in ("pids", "freezer", "devices", "memory"):
            if name in self._paths:
                return files.pids_below(self._paths[name])
        return files.pids_below(self._directories[0]) if self._directories else []

    def kill_all(self) -> None:
        for name in ("pids", "freezer", "devices"):
            if name in self._paths:
                self.thaw()
                files.kill_each(self._paths[name])
                return

    def stats(self) -> dict[str, Any]:
        return v1_stats.collect(self._paths, self.pids)

    def oom_kills(self) -> int:
        return files.read_table(f"{self._paths.get('memory', '')}/memory.oom_control").get("oom_kill", 0)

    def remove(self) -> None:
        for directory in self._directories:
            files.remove_tree(directory)


def _inherit_cpuset(directory: str, root: str) -> None:
    """A new cpuset is empty and takes no process before it has cpus and mems: copy them down from the parent."""
    if files.read(f"{directory}/cpuset.cpus") and files.read(f"{directory}/cpuset.mems"):
        return
    parent = os.path.dirname(directory)
    if parent.startswith(root + "/"):
        _inherit_cpuset(parent, root)
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not files.read(f"{directory}/{name}"):
            files.write(f"{directory}/{name}", files.read(f"{parent}/{name}"))

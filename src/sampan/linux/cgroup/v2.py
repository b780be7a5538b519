"""cgroup v2, the unified hierarchy (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import os
import time
from typing import Any

from sampan.linux.cgroup import ROOT, files, v2_resources


class CgroupV2:
    """See `sampan.linux.cgroup.interfaces.Cgroup`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = ROOT + path

    def paths(self) -> dict[str, str]:
        return {"": self._directory}

    def create(self) -> None:
        """Make the group and enable every available controller on the way down to it."""
        current = ROOT
        for name in self.path.strip("/").split("/"):
            _enable_controllers(current)
            current = f"{current}/{name}"
            try:
                os.mkdir(current, 0o755)
            except FileExistsError:
                pass

    def exists(self) -> bool:
        return os.path.isdir(self._directory)

    def apply(self, resources: dict[str, Any]) -> None:
        v2_resources.apply(self._directory, resources)

    def add(self, pid: int) -> None:
        files.write(f"{self._directory}/cgroup.procs", pid)

    def fd(self) -> int | None:
        return os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def join_files(self, *, always: bool = False) -> list[int]:
        return [os.open(f"{self._directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)] if always else []

    def _await_frozen(self, wanted: int) -> None:
        for attempt in range(2000):
            if files.read_table(f"{self._directory}/cgroup.events").get("frozen", 0) == wanted:
                return
            time.sleep(0 if attempt < 50 else 0.001)
        raise OSError(16, "the processes do not freeze" if wanted else "the processes do not thaw", self._directory)

    def freeze(self) -> None:
        files.write(f"{self._directory}/cgroup.freeze", 1)
        self._await_frozen(1)

    def thaw(self) -> None:
        if self.frozen():
            files.write(f"{self._directory}/cgroup.freeze", 0)
            self._await_frozen(0)

    def frozen(self) -> bool:
        return files.read_int(f"{self._directory}/cgroup.freeze") == 1

    def pids(self) -> list[int]:
        return files.pids_below(self._directory)

    def kill_all(self) -> None:
        try:
            files.write(f"{self._directory}/cgroup.kill", 1)
        except FileNotFoundError:  # before Linux 5.14, or no such group
            if self.exists():
                self.thaw()
                files.kill_each(self._directory)

    def stats(self) -> dict[str, Any]:
        from sampan.linux.cgroup import v2_stats

        return v2_stats.collect(self._directory)

    def oom_kills(self) -> int:
        return files.read_table(f"{self._directory}/memory.events").get("oom_kill", 0)

    def remove(self) -> None:
        files.remove_tree(self._directory)


def _enable_controllers(directory: str) -> None:
    """Pass all controllers on to the children. One that cannot be (threaded, busy) is skipped: writing its limits
    then fails by name, which says more than a refusal here."""
    available = files.read(f"{directory}/cgroup.controllers").split()
    enabled = files.read(f"{directory}/cgroup.subtree_control").split()
    missing = [name for name in available if name not in enabled]
    if not missing:
        return
    control = f"{directory}/cgroup.subtree_control"
    try:
        files.write(control, " ".join(f"+{name}" for name in missing))
    except OSError:
        for name in missing:
            try:
                files.write(control, f"+{name}")
            except OSError:
                continue  # said in the docstring

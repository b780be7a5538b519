"""What an engine has on the host: processes, mounts, cgroups, interfaces, firewall tables, files, descriptors."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import EngineProcess

CGROUPS = Path("/sys/fs/cgroup")

_ROLE_OF_CHILD = {"sampand": "zygote", "zygote": "spare", "spare": "launcher", "launcher": "reserve"}


class Footprint:
    """Looks at the host from outside; asks the engine nothing."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        digest = hashlib.sha256(os.path.abspath(engine.exec_root).encode()).hexdigest()[:6]
        self.instance = f"sampan-{digest}"
        self._veth_prefix = "v" + hashlib.sha256(self.instance.encode()).hexdigest()[:5]
        self._marker = engine.marker.encode()

    def processes(self) -> dict[int, str]:
        """Our own processes (not those of containers) by pid: `sampand`, `zygote`, `spare`, `launcher`, `reserve` or
        `shim`; a worker in a container's root counts as `shim`."""
        parents = {pid: _parent(pid) for pid in _pids() if self._marker in _read(f"/proc/{pid}/environ")}
        roles: dict[int, str] = {}
        for pid in sorted(parents, key=lambda each: _depth(each, parents)):
            parent = roles.get(parents[pid], "")
            if b"/sampand\0" in _read(f"/proc/{pid}/cmdline"):
                roles[pid] = "sampand"
            else:
                roles[pid] = _ROLE_OF_CHILD.get(parent, "shim")
        for task in self.tasks().values():
            if task.get("shim_pid") in roles:
                roles[task["shim_pid"]] = "shim"
        return roles

    def describe(self, pid: int) -> str:
        """For messages: parent, state and what it waits for."""
        stat, waits = (_read(f"/proc/{pid}/{name}").decode(errors="replace") for name in ("stat", "wchan"))
        return f"{stat[:60]}… in {waits}; open: {[_target(pid, fd) for fd in _names(f'/proc/{pid}/fd')]}"

    def tasks(self) -> dict[str, dict[str, int]]:
        """The tasks' own files, by container; `{}` for a directory without one."""
        found = {}
        for name in _names(f"{self.engine.exec_root}/tasks"):
            try:
                found[name] = json.loads(_read(f"{self.engine.exec_root}/tasks/{name}/task.json"))
            except ValueError:
                found[name] = {}
        return found

    def container_processes(self) -> set[int]:
        """Processes in a cgroup of this engine."""
        found = set()
        for directory in self._cgroup_directories():
            found |= {int(pid) for pid in _read(f"{directory}/cgroup.procs").split()}
        return found

    def cgroups(self) -> set[str]:
        """Names of the cgroups below the engine's, in any hierarchy."""
        return {path.name for path in self._cgroup_directories() if path.name != self.instance}

    def has_cgroup(self) -> bool:
        return any(True for _ in self._cgroup_directories())

    def _cgroup_directories(self) -> Iterator[Path]:
        for top in [CGROUPS / self.instance, *CGROUPS.glob(f"*/{self.instance}")]:
            if top.is_dir():
                yield top
                yield from (path for path in top.iterdir() if path.is_dir())

    def remove_cgroups(self) -> None:
        """As a reboot does; nothing may run in them."""
        for directory in sorted(self._cgroup_directories(), key=lambda path: -len(path.parts)):
            directory.rmdir()

    def mounts(self) -> list[str]:
        """Mounts below the engine's roots, in our mount namespace and in that of its process."""
        lines = _read("/proc/self/mountinfo").decode().splitlines()
        lines += _read(f"/proc/{self.engine.pid}/mountinfo").decode().splitlines()
        roots = (f" {self.engine.data_root}", f" {self.engine.exec_root}")
        return [line for line in lines if any(root in line and f"{root} " not in line for root in roots)]

    def bridges(self) -> set[str]:
        return {link["ifname"] for link in _links() if link.get("ifalias") == self.instance}

    def veths(self) -> set[str]:
        return {link["ifname"] for link in _links() if link["ifname"].startswith(self._veth_prefix)}

    def tables(self) -> list[str]:
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if self.instance in line.split()]

    def published(self) -> int:
        """Elements of the maps of published ports."""
        listed = subprocess.run(["nft", "-j", "list", "table", "ip", self.instance], capture_output=True, text=True)
        if listed.returncode:
            return 0
        maps = [item["map"] for item in json.loads(listed.stdout)["nftables"] if "map" in item]
        return sum(len(each.get("elem", [])) for each in maps)

    def descriptors(self) -> dict[str, int]:
        """What the engine's process has open, by kind."""
        kinds: dict[str, int] = {}
        for name in _names(f"/proc/{self.engine.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{self.engine.pid}/fd/{name}")
            except OSError:
                continue
            kind = target.partition(":")[0] if not target.startswith("/") else target
            kinds[kind] = kinds.get(kind, 0) + 1
        return kinds

    def resident_kib(self) -> int:
        for line in _read(f"/proc/{self.engine.pid}/status").decode().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def threads(self) -> int:
        return len(_names(f"/proc/{self.engine.pid}/task"))

    def unfinished(self) -> list[str]:
        """Files that exist only while something is under way."""
        data = self.engine.data_root
        places: tuple[str, ...] = ("layers/tmp", "layers/trash", "content/ingest", "content/trash", "build-cache/work")
        places += ("build-cache/contexts", "volumes/.trash", "tmp")
        found = [f"{place}/{name}" for place in places for name in _names(f"{data}/{place}")]
        return [path for path in found if not path.endswith(".partial")]  # downloads are resumed


def _links() -> list[dict[str, str]]:
    done = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
    links: list[dict[str, str]] = json.loads(done.stdout or "[]")
    return links


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _target(pid: int, fd: str) -> str:
    try:
        return f"{fd}={os.readlink(f'/proc/{pid}/fd/{fd}')}"
    except OSError:
        return fd


def _parent(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _depth(pid: int, parents: dict[int, int]) -> int:
    depth = 0
    while (pid := parents.get(pid, 0)) and depth < 64:
        depth += 1
    return depth

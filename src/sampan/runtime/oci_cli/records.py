"""What `sampan-runtime` remembers of a container: `<root>/<id>/state.json`, `config.json`, and the FIFO of a created one."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
from typing import Any

from sampan.errors import Conflict, InvalidArgument, NotFound
from sampan.linux.cgroup import Cgroup, open_cgroup

DEFAULT_ROOT = "/run/sampan-runtime"
_ID = re.compile(r"^[\w+.-]+$", re.ASCII)


class State:
    """One container's record. The status is never stored: it is found out from the kernel each time."""

    def __init__(self, root: str, data: dict[str, Any]) -> None:
        self.root = root
        self.data = data

    @property
    def directory(self) -> str:
        return f"{self.root}/{self.data['id']}"

    @property
    def fifo(self) -> str:
        return f"{self.directory}/exec.fifo"

    @property
    def pid(self) -> int:
        return int(self.data["pid"])

    def config(self) -> dict[str, Any]:
        with open(f"{self.directory}/config.json", encoding="utf-8") as file:
            config: dict[str, Any] = json.load(file)
        return config

    def cgroup(self) -> Cgroup:
        return open_cgroup(self.data["cgroup"])

    def alive(self) -> bool:
        """Whether the very process that we started lives: the start time tells it from a later one with its number."""
        return self.pid > 0 and start_time(self.pid) == self.data["start_time"]

    def status(self) -> str:
        if not self.alive():
            return "stopped"
        if self.cgroup().frozen():
            return "paused"
        return "created" if os.path.exists(self.fifo) else "running"

    def describe(self) -> dict[str, Any]:
        """The state of the OCI specification, with runc's additions."""
        status = self.status()
        return {
            "ociVersion": "1.2.0",
            "id": self.data["id"],
            "pid": 0 if status == "stopped" else self.pid,
            "status": status,
            "bundle": self.data["bundle"],
            "rootfs": self.data["rootfs"],
            "created": self.data["created"],
            "annotations": self.data.get("annotations") or {},
            "owner": "",
        }

    def save(self) -> None:
        temporary = f"{self.directory}/.state.json"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.data, file)
        os.rename(temporary, f"{self.directory}/state.json")

    def forget(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def start_time(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat in clock ticks after boot; -1 when there is no such process or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def begin(root: str, container: str, bundle: str, config: dict[str, Any]) -> State:
    """Claim the id: makes its directory, or raises `Conflict` and leaves the first one intact."""
    if not _ID.match(container) or container in (".", ".."):
        raise InvalidArgument("invalid container ID format: " + repr(container))
    os.makedirs(root, 0o711, exist_ok=True)
    try:
        os.mkdir(f"{root}/{container}", 0o711)
    except FileExistsError:
        raise Conflict("container with given ID already exists") from None
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    return State(root, {
        "id": container, "bundle": bundle, "created": now, "pid": 0, "start_time": -1,
        "annotations": config.get("annotations") or {},
    })  # fmt: skip


def load(root: str, container: str) -> State:
    """The record of `container`; raises `NotFound`."""
    if not _ID.match(container):
        raise InvalidArgument("invalid container ID format: " + repr(container))
    try:
        with open(f"{root}/{container}/state.json", encoding="utf-8") as file:
            return State(root, json.load(file))
    except (FileNotFoundError, ValueError):
        raise NotFound("container does not exist") from None


def load_all(root: str) -> list[State]:
    """Every container's record, by id; half-made ones are left out."""
    states = []
    for name in sorted(os.listdir(root)) if os.path.isdir(root) else []:
        try:
            states.append(load(root, name))
        except (NotFound, InvalidArgument):
            continue
    return states

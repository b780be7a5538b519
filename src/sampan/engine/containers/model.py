"""A container in memory: its stored record, and what only a running engine knows about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.store.containers import ContainerRecord, MountRecord, StateRecord
from sampan.types.ids import short

if TYPE_CHECKING:
    from sampan.engine.tasks.task import Task

MASKED_PATHS = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


class Container:
    """`record` is authoritative and stored; the rest is rebuilt at the engine's start.

    `lock` serialises transitions (start, stop, remove …) of this container. `task` is its running process, or None.
    """

    def __init__(self, record: ContainerRecord, directory: str) -> None:
        self.record = record
        self.directory = directory
        """State that must outlive the engine: upper, work, logs, hosts files, exit.json."""
        self.task: Task | None = None
        self.lock = asyncio.Lock()
        self.sandbox: Any = None
        self.network_owner: Container | None = None
        """The container whose network namespace this one joined."""
        self.exits: list[asyncio.Future[tuple[int, str]]] = []
        self.removals: list[asyncio.Future[tuple[int, str]]] = []
        self.restart_timer: asyncio.Task[None] | None = None
        self.health_probe: asyncio.Task[None] | None = None
        self.removing = False
        self.removed = False
        self.stop_requested = False
        self.exec_ids: set[str] = set()
        """Execs that are not done; the exec room adds and removes them."""

    # --- what other rooms read

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def short_id(self) -> str:
        return short(self.record.id)

    @property
    def name(self) -> str:
        """Without the slash that Docker's JSON puts in front."""
        return self.record.name

    @property
    def config(self) -> dict[str, Any]:
        """Docker's ContainerConfig, merged with the image's."""
        return self.record.config

    @property
    def host_config(self) -> dict[str, Any]:
        return self.record.host_config

    @property
    def state(self) -> StateRecord:
        return self.record.state

    @property
    def image_id(self) -> str:
        return self.record.image_id

    @property
    def running(self) -> bool:
        """Whether it has a live process (paused counts)."""
        return self.record.state.status in ("running", "paused")

    @property
    def was_started(self) -> bool:
        """Whether it has ever run."""
        return not self.record.state.started_at.startswith("0001")

    @property
    def paused(self) -> bool:
        return self.record.state.status == "paused"

    @property
    def pid(self) -> int:
        return self.record.state.pid

    @property
    def tty(self) -> bool:
        return bool(self.record.config["Tty"])

    @property
    def labels(self) -> dict[str, str]:
        return self.record.config["Labels"] or {}

    @property
    def log_path(self) -> str:
        return self.record.log_path

    @property
    def log_config(self) -> dict[str, Any]:
        """`{"Type": …, "Config": {…}}`."""
        found: dict[str, Any] = self.record.host_config["LogConfig"]
        return found

    @property
    def mounts(self) -> list[MountRecord]:
        return self.record.mounts

    @property
    def upper(self) -> str:
        return f"{self.directory}/diff"

    @property
    def work(self) -> str:
        return f"{self.directory}/work"

    def rootfs(self) -> dict[str, Any]:
        """The root file system as the runtime mounts it."""
        return {
            "kind": "overlay",
            "lower": self.record.lower_dirs,
            "upper": self.upper,
            "work": self.work,
            "readonly": bool(self.record.host_config["ReadonlyRootfs"]),
            "volatile": False,
        }

    def in_rootfs_target(self) -> dict[str, Any]:
        """Where `Tasks.in_rootfs` works on this container's files: the live root, or overlay and mounts if stopped."""
        if self.running and self.record.state.pid:
            return {"kind": "process", "pid": self.record.state.pid}
        # An operation on a stopped container (cp) may write although the container itself may not: the check of
        # ReadonlyRootfs is the caller's, who can answer in Docker's words.
        mounts = [self._plain_bind(mount) for mount in self.record.mounts if mount.source and mount.kind != "image"]
        return {**self.rootfs(), "readonly": False, "mounts": mounts}

    @staticmethod
    def _plain_bind(mount: MountRecord) -> dict[str, Any]:
        options = ["rbind", "rprivate"] if mount.writable else ["rbind", "rprivate", "ro"]
        source = f"{mount.source}/{mount.subpath}" if mount.subpath else mount.source
        found = {"type": "bind", "source": source, "destination": mount.destination, "options": options}
        return {**found, "sampan.root": mount.source} if mount.subpath else found

    def event_attributes(self) -> dict[str, str]:
        """What every event about this container carries."""
        return {**self.labels, "image": self.record.image, "name": self.record.name}

"""The table of containers: one row of JSON each, rewritten as a whole on every transition."""

from __future__ import annotations

from typing import Any

import msgspec

from sampan.store.database import Database
from sampan.types.times import ZERO_TIME

MIGRATIONS = [
    "CREATE TABLE containers (id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID",
]


class HealthRecord(msgspec.Struct):
    """`log` holds the last five results, oldest first, in Docker's form."""

    status: str = "starting"
    failing_streak: int = 0
    log: list[dict[str, Any]] = msgspec.field(default_factory=list)


class StateRecord(msgspec.Struct):
    """`status` is one of created, running, paused, restarting, removing, exited, dead. Times are RFC 3339."""

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = ZERO_TIME
    finished_at: str = ZERO_TIME
    health: HealthRecord | None = None
    stopped_by_user: bool = False


class MountRecord(msgspec.Struct):
    """One mount of a container, resolved: what inspect shows and what a start needs.

    `source` is a path on the host (empty for tmpfs). `options` are mount options beyond `ro`. `create_source`: make the
    directory if it is missing (`-v`). `copy_up`: fill an empty volume with what the image has at the destination.
    """

    kind: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    options: list[str] = msgspec.field(default_factory=list)
    create_source: bool = False
    copy_up: bool = False
    anonymous: bool = False
    subpath: str = ""
    recursive: bool = True
    read_only_recursive: str = ""
    image_id: str = ""
    from_mounts_api: bool = False


class ContainerRecord(msgspec.Struct):
    """A container as it is stored. `config`, `host_config` and `endpoints` are Docker's JSON with all defaults filled in.

    `endpoints`: network name → EndpointSettings as requested; what the network gave lives in `endpoint_states`.
    """

    id: str
    name: str
    created: str
    created_ns: int
    image: str
    image_id: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    path: str = ""
    args: list[str] = msgspec.field(default_factory=list)
    platform: str = "linux"
    endpoints: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    endpoint_states: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    ports: dict[str, Any] = msgspec.field(default_factory=dict)
    mounts: list[MountRecord] = msgspec.field(default_factory=list)
    lower_dirs: list[str] = msgspec.field(default_factory=list)
    state: StateRecord = msgspec.field(default_factory=StateRecord)
    restart_count: int = 0
    restart_delay_s: float = 0.0
    log_path: str = ""
    image_env: list[str] = msgspec.field(default_factory=list)


class ContainerTable:
    """All containers on disk. Synchronous; a save takes some tens of microseconds."""

    def __init__(self, database: Database) -> None:
        database.migrate("containers", MIGRATIONS)
        self._database = database
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(ContainerRecord).decode

    def save(self, record: ContainerRecord) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO containers (id, record) VALUES (?, ?)", (record.id, self._encode(record))
        )

    def delete(self, container_id: str) -> None:
        self._database.execute("DELETE FROM containers WHERE id = ?", (container_id,))

    def all(self) -> list[ContainerRecord]:
        return [self._decode(row["record"]) for row in self._database.all("SELECT record FROM containers")]

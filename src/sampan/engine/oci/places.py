"""What one start knows and a stored container does not: where its parts are on the host."""

from __future__ import annotations

import msgspec

from sampan.store.containers import MountRecord


class Places(msgspec.Struct, kw_only=True):
    """Where the parts of this start are: files of the container on the host, and namespaces to join.

    `joined` maps pid, ipc, uts, user to the pid of a process whose namespace is joined. `shm_source` is the directory of a
    shared /dev/shm, if it is not the container's own.
    """

    hosts: str = ""
    hostname: str = ""
    resolv_conf: str = ""
    mounts: list[MountRecord] = []
    joined: dict[str, int] = {}
    shm_source: str = ""
    own_network: bool = True
    id_mappings: tuple[list[dict[str, int]], list[dict[str, int]]] | None = None

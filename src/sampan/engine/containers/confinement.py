"""What a start needs beyond the OCI config: the compiled seccomp filter, id mappings, a shareable /dev/shm."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sampan.engine import subordinate_ids
from sampan.engine.config import EngineConfig
from sampan.engine.containers.model import Container
from sampan.engine.oci.runtime_config import capability_set, seccomp_profile
from sampan.engine.subordinate_ids import Mapping
from sampan.errors import InvalidArgument

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_default_filters: dict[tuple[str, ...], bytes] = {}


def seccomp_filter(host: dict[str, Any], engine: EngineConfig) -> bytes | None:
    """The BPF program of a container, None for unconfined. Compiled once per profile and set of capabilities.

    Raises:
        InvalidArgument: a profile that is no profile.
    """
    from sampan.linux import seccomp, seccomp_default

    text = seccomp_profile(host, engine)
    if text == "unconfined":
        return None
    capabilities = capability_set(host)
    if not text:
        key = tuple(capabilities)
        if key not in _default_filters:
            _default_filters[key] = seccomp.compile_profile(seccomp_default.profile(capabilities))
        return _default_filters[key]
    if not text.lstrip().startswith("{"):
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise InvalidArgument(f"opening seccomp profile ({text}) failed: {error.strerror}") from None
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"decoding seccomp profile failed: {error}") from None
    return seccomp.compile_profile(profile)


def id_mappings(host: dict[str, Any], engine: EngineConfig) -> tuple[list[Mapping], list[Mapping]] | None:
    """The maps of a container's user namespace under `--userns-remap`; None if it shares the engine's.

    Raises:
        InvalidArgument: the user has no subordinate ids.
    """
    if not engine.userns_remap or host["UsernsMode"] == "host":
        return None
    return subordinate_ids.mappings(engine.userns_remap)


def user_namespace_owner(engine: Engine, container: Container) -> Container | None:
    """The running container whose user namespace a remapped one must live in, because it joins another namespace of it:
    root has rights only over what belongs to its own user namespace."""
    host = container.host_config
    if id_mappings(host, engine.config) is None:
        return None
    for mode in (host["NetworkMode"], host["PidMode"], host["IpcMode"]):
        if mode.startswith("container:"):
            owner = engine.containers.get(mode.partition(":")[2])
            if owner.running and owner.pid and id_mappings(owner.host_config, engine.config) is not None:
                return owner
    return None


def _shm_path(engine: Engine, container_id: str) -> str:
    return f"{engine.config.exec_root}/shm/{container_id}"


def shared_memory(engine: Engine, container: Container) -> str:
    """The host directory of a /dev/shm that others may join, or of the one that is joined; else "".

    Only a shareable one is mounted on the host: a mount of a container's own namespace cannot be bound into another's.
    """
    from sampan.linux import mount

    mode = container.host_config["IpcMode"]
    if mode.startswith("container:"):
        return _shm_path(engine, engine.containers.get(mode.partition(":")[2]).id)
    if mode != "shareable":
        return ""
    path = _shm_path(engine, container.id)
    os.makedirs(path, mode=0o700, exist_ok=True)
    if not os.path.ismount(path):
        flags = mount.MS_NOSUID | mount.MS_NOEXEC | mount.MS_NODEV
        mount.mount("shm", path, "tmpfs", flags, f"mode=1777,size={container.host_config['ShmSize']}")
    return path


def drop_shared_memory(engine: Engine, container: Container) -> None:
    """Unmount what `shared_memory` mounted."""
    if container.host_config["IpcMode"] == "shareable":
        drop_shared_memory_at(_shm_path(engine, container.id))


def drop_shared_memory_at(path: str) -> None:
    from sampan.linux import mount

    if os.path.ismount(path):
        mount.unmount(path)
    try:
        os.rmdir(path)
    except OSError:
        pass  # it never was, or the exec root is gone with it

"""What a start needs beyond the OCI config: the compiled seccomp filter, id mappings, a shareable /dev/shm."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Any

from sampan.engine.config import EngineConfig
from sampan.engine.containers.model import Container
from sampan.engine.oci.runtime_config import capability_set, seccomp_profile
from sampan.errors import InvalidArgument, NotSupported

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

Mapping = dict[str, int]
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
    """The user namespace of a container under `--userns-remap`, from /etc/subuid and /etc/subgid.

    Raises:
        NotSupported: the user has no subordinate ids.
    """
    if not engine.userns_remap or host["UsernsMode"] == "host" or host["Privileged"]:
        return None
    # Our pool's network namespaces belong to the host's user namespace; a remapped container cannot join one.
    if host["NetworkMode"] not in ("host",):
        raise NotSupported(
            "userns-remap is possible with network mode host only in this version",
            hint="use --userns host for this one",
        )
    user, _, group = engine.userns_remap.partition(":")
    user = "sampan" if user == "default" else user
    if user.isdecimal():
        user = pwd.getpwuid(int(user)).pw_name
    return _subordinate("/etc/subuid", user), _subordinate("/etc/subgid", group or user)


def _subordinate(path: str, name: str) -> list[Mapping]:
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.strip().split(":") for line in file if line.startswith(f"{name}:")]
    except OSError:
        rows = []
    if not rows:
        raise NotSupported(f"userns-remap: {name} has no subordinate ids in {path}")
    found, inside = [], 0
    for _, first, count in rows:
        found.append({"containerID": inside, "hostID": int(first), "size": int(count)})
        inside += int(count)
    return found


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
        pass

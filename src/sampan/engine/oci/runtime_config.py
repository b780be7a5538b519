"""Docker's defaults as an OCI runtime config (https://github.com/opencontainers/runtime-spec), for containers and for the
steps of a build.

    runtime_config.build(record, engine_config, places)  → what `Tasks.start` hands to the runtime

Pure but for what must be asked of the host: device nodes, and the host's capabilities for `--privileged`.
"""

from __future__ import annotations

from typing import Any

from sampan.engine.config import EngineConfig
from sampan.engine.containers.request.capabilities import normalise_capabilities
from sampan.engine.oci import device_rules, limits, mount_table
from sampan.engine.oci.places import Places
from sampan.errors import InvalidArgument
from sampan.linux.capabilities import NAMES as CAPABILITIES
from sampan.store.containers import ContainerRecord, MountRecord

DEFAULT_CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_ANNOTATION = "org.sampan.init"
_INIT_PATH = "/sbin/docker-init"
_IPC_SYSCTLS = frozenset(
    {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"}
    | {"kernel.shmmni", "kernel.shm_rmid_forced"}
)


def build(record: ContainerRecord, engine: EngineConfig, places: Places) -> dict[str, Any]:
    """The OCI config of a container.

    Raises:
        InvalidArgument: a sysctl that does not belong to the container's own namespaces.
        SampanError: a device that does not exist.
    """
    host = record.host_config
    devices, rules = device_rules.collect(host)
    config: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": _main_process(record, engine),
        "root": {"path": "rootfs", "readonly": bool(host["ReadonlyRootfs"])},
        "hostname": record.config["Hostname"],
        "domainname": record.config["Domainname"],
        "mounts": mount_table.collect(record, places),
        "annotations": dict(host["Annotations"] or {}),
        "linux": {
            "namespaces": _namespaces(record, places),
            "resources": {**limits.resources(host, engine), "devices": rules},
            "cgroupsPath": cgroup_path(record.id, host, engine),
            "devices": devices,
            "maskedPaths": _paths(host, "MaskedPaths"),
            "readonlyPaths": _paths(host, "ReadonlyPaths"),
            "sysctl": _sysctls(record, places),
            "rootfsPropagation": _root_propagation(places.mounts),
        },
    }
    if host["UTSMode"] == "host":
        del config["hostname"], config["domainname"]
    if host["Init"] if host["Init"] is not None else engine.init:
        _add_init(config, engine)
    if places.id_mappings is not None:
        config["linux"]["uidMappings"], config["linux"]["gidMappings"] = places.id_mappings
    return config


def build_step_config(
    *,
    step_id: str,
    args: list[str],
    env: list[str],
    cwd: str,
    user: str,
    hostname: str,
    engine: EngineConfig,
    host_config: dict[str, Any],
    config: dict[str, Any],
    places: Places,
) -> dict[str, Any]:
    """The OCI config of a build's RUN: a container's, for a process that the Dockerfile names.

    `host_config` and `config` are Docker's JSON with all fields (`fields.fill({}, …)` gives the defaults).
    """
    filled = {**config, "Env": env, "WorkingDir": cwd, "User": user, "Hostname": hostname, "Tty": False}
    record = ContainerRecord(step_id, "", "", 0, "", "", filled, host_config, path=args[0], args=args[1:])
    return build(record, engine, places)


def cgroup_path(container_id: str, host: dict[str, Any], engine: EngineConfig) -> str:
    parent = host["CgroupParent"] or engine.cgroup_root
    return f"/{parent.strip('/')}/{container_id}"


def _paths(host: dict[str, Any], name: str) -> list[str]:
    if host["Privileged"] or "systempaths=unconfined" in (host["SecurityOpt"] or ()):
        return []
    return list(host[name] or ())


def _root_propagation(mounts: list[MountRecord]) -> str:
    """A shared or slave bind needs a root that lets the propagation through."""
    kinds = {mount.propagation for mount in mounts}
    if kinds & {"shared", "rshared"}:
        return "rshared"
    return "rslave" if kinds & {"slave", "rslave"} else "rprivate"


def capability_set(host: dict[str, Any]) -> list[str]:
    """The capabilities of a container's root user: Docker's fourteen, `CapAdd` and `CapDrop` applied."""
    if host["Privileged"]:
        return _known_to_kernel(list(CAPABILITIES))
    added = normalise_capabilities(host["CapAdd"], "CapAdd")
    dropped = normalise_capabilities(host["CapDrop"], "CapDrop")
    if "ALL" in added:
        base = [name for name in CAPABILITIES if name not in dropped]
    elif "ALL" in dropped:
        base = [name for name in CAPABILITIES if name in added]
    else:
        base = [name for name in DEFAULT_CAPABILITIES if name not in dropped]
        base += [name for name in added if name not in base]
    return _known_to_kernel(base)


_LAST_CAPABILITY: list[int] = []


def _known_to_kernel(names: list[str]) -> list[str]:
    if not _LAST_CAPABILITY:
        try:
            with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
                _LAST_CAPABILITY.append(int(file.read()))
        except (OSError, ValueError):
            _LAST_CAPABILITY.append(len(CAPABILITIES) - 1)
    known = set(CAPABILITIES[: _LAST_CAPABILITY[0] + 1])
    return [name for name in names if name in known]


def _main_process(record: ContainerRecord, engine: EngineConfig) -> dict[str, Any]:
    return process(
        record,
        engine,
        args=[record.path, *record.args],
        env=container_environment(record),
        cwd=record.config["WorkingDir"] or "/",
        user=record.config["User"],
        tty=bool(record.config["Tty"]),
        privileged=bool(record.host_config["Privileged"]),
    )


def container_environment(record: ContainerRecord) -> list[str]:
    """PATH, HOSTNAME and TERM as Docker sets them, under what the image and the request say."""
    environment = [DEFAULT_PATH, f"HOSTNAME={record.config['Hostname']}"]
    if record.config["Tty"]:
        environment.append("TERM=xterm")
    return merge_environment(environment, record.config["Env"] or ())


def merge_environment(base: list[str], overrides: Any) -> list[str]:
    """Later values win, each name once; a name without `=` removes the variable."""
    merged: dict[str, str | None] = {entry.partition("=")[0]: entry for entry in base}
    for entry in overrides:
        name, equals, _ = entry.partition("=")
        if equals:
            merged[name] = entry
        else:
            merged.pop(name, None)
    return [entry for entry in merged.values() if entry is not None]


def process(
    record: ContainerRecord,
    engine: EngineConfig,
    *,
    args: list[str],
    env: list[str],
    cwd: str,
    user: str,
    tty: bool,
    privileged: bool,
) -> dict[str, Any]:
    """The OCI process of a container's main command, of an exec or of a health check.

    `user` goes to the runtime as it is (`name|uid[:group|gid]`): only the container's own files can resolve it.
    """
    host = record.host_config
    caps = _known_to_kernel(list(CAPABILITIES)) if privileged else capability_set(host)
    found: dict[str, Any] = {
        "terminal": tty,
        "user": {"uid": 0, "gid": 0, "username": user, "additionalGroups": list(host["GroupAdd"] or ())},
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps, "inheritable": [], "ambient": []},
        "noNewPrivileges": _no_new_privileges(host, engine),
        "oomScoreAdj": host["OomScoreAdj"],
        "rlimits": limits.rlimits(host, engine),
    }
    if tty and host["ConsoleSize"] and any(host["ConsoleSize"]):
        found["consoleSize"] = {"height": host["ConsoleSize"][0], "width": host["ConsoleSize"][1]}
    return found


def _no_new_privileges(host: dict[str, Any], engine: EngineConfig) -> bool:
    for option in host["SecurityOpt"] or ():
        if option.startswith("no-new-privileges"):
            return not option.endswith(("=false", ":false", "=0", ":0"))
    return engine.no_new_privileges


def seccomp_profile(host: dict[str, Any], engine: EngineConfig) -> str:
    """ "unconfined", "" for the default, or the text of a profile in JSON."""
    for option in host["SecurityOpt"] or ():
        if option.startswith(("seccomp=", "seccomp:")):
            value = option[len("seccomp=") :]
            return "" if value == "builtin" else value
    if host["Privileged"]:
        return "unconfined"
    return engine.seccomp_profile


def _namespaces(record: ContainerRecord, places: Places) -> list[dict[str, str]]:
    host = record.host_config
    found: list[dict[str, str]] = [{"type": "mount"}]
    if host["NetworkMode"] != "host":
        found.append({"type": "network"})
    modes = {"pid": host["PidMode"], "ipc": host["IpcMode"], "uts": host["UTSMode"]}
    for kind, mode in modes.items():
        if mode == "host":
            continue
        pid = places.joined.get(kind)
        found.append({"type": kind, "path": f"/proc/{pid}/ns/{kind}"} if pid else {"type": kind})
    if host["CgroupnsMode"] != "host":
        found.append({"type": "cgroup"})
    if places.id_mappings is not None:
        pid = places.joined.get("user")
        found.append({"type": "user", "path": f"/proc/{pid}/ns/user"} if pid else {"type": "user"})
    return found


def _sysctls(record: ContainerRecord, places: Places) -> dict[str, str]:
    host = record.host_config
    mode = host["NetworkMode"]
    found: dict[str, str] = {}
    if mode != "host" and not mode.startswith("container:") and not places.own_network:
        found = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    for name, value in (host["Sysctls"] or {}).items():
        _check_sysctl(name.replace("/", "."), host)
        found[name] = value
    return found


def _check_sysctl(name: str, host: dict[str, Any]) -> None:
    if name.startswith("net."):
        if host["NetworkMode"] == "host":
            raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
    elif name.startswith("fs.mqueue.") or name in _IPC_SYSCTLS:
        if host["IpcMode"] == "host":
            raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
    elif name in ("kernel.domainname", "kernel.hostname"):
        if host["UTSMode"] == "host":
            raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts uts namespace')
    else:
        raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')


def _add_init(config: dict[str, Any], engine: EngineConfig) -> None:
    if not engine.init_path:
        config["annotations"][INIT_ANNOTATION] = "true"
        return
    config["mounts"].append(
        {"destination": _INIT_PATH, "type": "bind", "source": engine.init_path, "options": ["bind", "ro"]}
    )
    config["process"]["args"] = [_INIT_PATH, "--", *config["process"]["args"]]

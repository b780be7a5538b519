"""Docker's JSON of a container: inspect, and an entry of the list."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from sampan.engine.containers import etc_files
from sampan.engine.containers.model import Container
from sampan.engine.containers.request import fields
from sampan.engine.containers.status import status_text
from sampan.errors import SampanError
from sampan.store.containers import MountRecord

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

Version = tuple[int, int]
_EMPTY_ENDPOINT: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}

_DEFAULT_BRIDGE_FIELDS: tuple[str, ...] = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
)
_DEFAULT_BRIDGE_FIELDS += ("IPv6Gateway", "MacAddress")


def inspect(engine: Engine, container: Container, *, size: bool, api_version: Version) -> dict[str, Any]:
    record = container.record
    files = etc_files.paths(container)
    started = container.was_started
    host = fields.shown(record.host_config)
    if host["Links"]:
        host["Links"] = [_link(record.name, link) for link in host["Links"]]
    found: dict[str, Any] = {
        "Id": record.id,
        "Created": record.created,
        "Path": record.path,
        "Args": record.args,
        "State": _state(container),
        "Image": record.image_id,
        "ResolvConfPath": files.resolv_conf if started else "",
        "HostnamePath": files.hostname if started else "",
        "HostsPath": files.hosts if started else "",
        "LogPath": record.log_path if started else "",
        "Name": f"/{record.name}",
        "RestartCount": record.restart_count,
        "Driver": "overlay2",
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": sorted(container.exec_ids) or None,
        "HostConfig": host,
        "GraphDriver": {"Data": _graph(container), "Name": "overlay2"},
        "Mounts": [_mount(mount) for mount in record.mounts if _listed(mount)],
        "Config": fields.shown(record.config),
        "NetworkSettings": _network_settings(engine, container, api_version),
    }
    if size:
        found["SizeRw"], found["SizeRootFs"] = sizes(engine, container)
    if api_version >= (1, 48):
        image = engine.images.find(record.image_id)
        if image is not None and image.manifest_digest and image.manifest_bytes is not None:
            found["ImageManifestDescriptor"] = {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.manifest_digest,
                "size": len(image.manifest_bytes),
                "platform": {"architecture": image.platform.architecture, "os": image.platform.os},
            }
    return found


def _link(owner: str, link: str) -> str:
    name, _, alias = link.partition(":")
    return f"/{name.lstrip('/')}:/{owner}/{(alias or name).rpartition('/')[2]}"


def _state(container: Container) -> dict[str, Any]:
    state = container.record.state
    found: dict[str, Any] = {
        "Status": state.status,
        "Running": state.status in ("running", "paused", "restarting"),
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "FinishedAt": state.finished_at,
    }
    if state.health is not None:
        found["Health"] = {
            "Status": state.health.status,
            "FailingStreak": state.health.failing_streak,
            "Log": state.health.log,
        }
    return found


def _graph(container: Container) -> dict[str, str]:
    return {
        "LowerDir": ":".join(container.record.lower_dirs),
        "MergedDir": f"{container.directory}/merged",
        "UpperDir": container.upper,
        "WorkDir": container.work,
    }


def _listed(mount: MountRecord) -> bool:
    """`--tmpfs` shows in HostConfig alone; a tmpfs of the Mounts form is listed."""
    return mount.kind != "tmpfs" or mount.from_mounts_api


def _mount(mount: MountRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": mount.kind}
    if mount.name:
        found["Name"] = mount.name
    found["Source"] = mount.source
    found["Destination"] = mount.destination
    if mount.driver:
        found["Driver"] = mount.driver
    return {**found, "Mode": mount.mode, "RW": mount.writable, "Propagation": mount.propagation}


def networks(engine: Engine, container: Container, api_version: Version) -> dict[str, dict[str, Any]]:
    """`NetworkSettings.Networks`: what was asked for, under what the networks gave."""
    found = {}
    for name, wanted in container.record.endpoints.items():
        known: dict[str, Any] = {
            key: wanted[key]
            for key in ("IPAMConfig", "Links", "Aliases", "DriverOpts", "MacAddress")
            if wanted.get(key) is not None
        }
        live: dict[str, Any] | None = container.record.endpoint_states.get(name)
        settings: dict[str, Any] = {**_EMPTY_ENDPOINT, **known}
        if live is not None:
            settings.update(live)
        if name == "bridge":
            settings["DNSNames"] = None  # the default network has no names
        if api_version < (1, 48):
            del settings["GwPriority"]
        found[name] = settings
        if (
            live is None and container.was_started
        ):  # host and none have no endpoints of ours, an ended one has lost its own
            found[name]["NetworkID"] = _network_id(engine, name)
    return found


def _network_id(engine: Engine, name: str) -> str:
    try:
        return engine.networks.get(name).id
    except SampanError:
        return ""


def _network_settings(engine: Engine, container: Container, api_version: Version) -> dict[str, Any]:
    named = networks(engine, container, api_version)
    running = container.running and container.host_config["NetworkMode"] != "host"
    found: dict[str, Any] = {
        "Bridge": "",
        "SandboxID": container.id if container.running else "",
        "SandboxKey": f"/proc/{container.pid}/ns/net" if running else "",
        "Ports": container.record.ports if container.running else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
    }
    if api_version >= (1, 52):
        found = {key: found[key] for key in ("SandboxID", "SandboxKey", "Ports")}
    else:
        default = {**_EMPTY_ENDPOINT, **named.get("bridge", {})}
        for key in [
            "EndpointID",
            "Gateway",
            "GlobalIPv6Address",
            "GlobalIPv6PrefixLen",
            "IPAddress",
            "IPPrefixLen",
            "IPv6Gateway",
            "MacAddress",
        ]:
            found[key] = default[key]
    found["Networks"] = named
    return found


def ports(container: Container) -> list[dict[str, Any]]:
    """`Ports` of the list: published ones per address, the rest as exposed."""
    found: list[dict[str, Any]] = []
    known = container.record.ports if container.running else {}
    for port, bindings in known.items():
        number, _, protocol = port.partition("/")
        private = int(number.partition("-")[0])
        for binding in bindings or ():
            found.append(
                {
                    "IP": binding["HostIp"],
                    "PrivatePort": private,
                    "PublicPort": int(binding["HostPort"]),
                    "Type": protocol or "tcp",
                }
            )
        if not bindings:
            found.append({"PrivatePort": private, "Type": protocol or "tcp"})
    return found


def command_text(container: Container) -> str:
    """Path and arguments as the list shows them: an argument with white space in single quotes."""
    record = container.record
    words = [word if " " not in word else "'" + word + "'" for word in record.args]
    return " ".join([record.path, *words])


def summary(
    engine: Engine, container: Container, *, size: tuple[int, int] | None, api_version: Version
) -> dict[str, Any]:
    record = container.record
    found: dict[str, Any] = {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": _image_name(engine, container),
        "ImageID": record.image_id,
        "Command": command_text(container),
        "Created": record.created_ns // 1_000_000_000,
        "Ports": ports(container),
        "Labels": container.labels,
        "State": record.state.status,
        "Status": status_text(record.state, time.time()),
        "HostConfig": {"NetworkMode": record.host_config["NetworkMode"]},
        "NetworkSettings": {"Networks": networks(engine, container, api_version)},
        "Mounts": [_mount(mount) for mount in record.mounts if _listed(mount)],
    }
    if size is not None:
        found["SizeRw"], found["SizeRootFs"] = size
    if api_version >= (1, 46) and record.host_config["Annotations"]:
        found["HostConfig"]["Annotations"] = record.host_config["Annotations"]
    if api_version >= (1, 52):
        health = record.state.health
        found["Health"] = {
            "Status": health.status if health else "none",
            "FailingStreak": health.failing_streak if health else 0,
        }
    return found


def _image_name(engine: Engine, container: Container) -> str:
    """As typed, or the id if the name means another image by now."""
    typed = container.record.image
    image = engine.images.find(typed)
    return typed if image is not None and image.id == container.image_id else container.image_id


def sizes(engine: Engine, container: Container) -> tuple[int, int]:
    """Bytes of the writable layer and of the whole root. Blocking: it walks the upper directory."""
    upper = 0
    seen: set[tuple[int, int]] = set()
    for directory, _, files in os.walk(container.upper):
        for name in files:
            try:
                status = os.lstat(f"{directory}/{name}")
            except OSError:
                continue  # a running container removed it meanwhile
            key = (status.st_dev, status.st_ino)
            if key not in seen:
                seen.add(key)
                upper += status.st_size
    image = engine.images.find(container.image_id)
    return upper, upper + (image.size_bytes if image is not None else 0)

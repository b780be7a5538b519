"""What the engine says about itself: `version`, `info` and `system df`."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sampan import __version__
from sampan.engine import host, volumes
from sampan.linux import cgroup

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_LOG_DRIVERS = ["json-file", "local", "none"]
_NETWORK_DRIVERS = ["bridge", "host", "null"]
_NO_SWARM = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def version(api_version: str, min_api_version: str) -> dict[str, Any]:
    """The body of `GET /version`."""
    details = {
        "ApiVersion": api_version,
        "Arch": host.architecture(),
        "Experimental": "false",
        "KernelVersion": host.kernel_version(),
        "MinAPIVersion": min_api_version,
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "Sampan"},
        "Components": [
            {"Name": "Engine", "Version": __version__, "Details": details},
            {"Name": "sampan-runtime", "Version": __version__, "Details": {}},
        ],
        "Version": __version__,
        "ApiVersion": api_version,
        "MinAPIVersion": min_api_version,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": host.architecture(),
        "KernelVersion": host.kernel_version(),
        "BuildTime": "",
    }


def info(engine: Engine) -> dict[str, Any]:
    """The body of `GET /info`."""
    config = engine.config
    counts = engine.containers.counts()
    return {
        "ID": engine.id,
        "Containers": sum(counts.values()),
        "ContainersRunning": counts["running"],
        "ContainersPaused": counts["paused"],
        "ContainersStopped": counts["stopped"],
        "Images": len(engine.images.list(all_images=True)),
        "Driver": "overlay2",
        "DriverStatus": [
            ["Backing Filesystem", host.filesystem_type(config.data_root)],
            ["Supports d_type", "true"],
            ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
        ],
        "DockerRootDir": config.data_root,
        "Plugins": {"Volume": ["local"], "Network": _NETWORK_DRIVERS, "Authorization": None, "Log": _LOG_DRIVERS},
        **_limits(),
        "Debug": config.debug,
        "NFd": host.open_descriptors(),
        "NGoroutines": threading.active_count(),
        "SystemTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "LoggingDriver": config.log_driver,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if cgroup.version() == 2 else "1",
        "NEventsListener": engine.events.listeners,
        **_machine(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registries(engine),
        "GenericResources": None,
        "Name": socket.gethostname(),
        "Labels": config.labels,
        "ExperimentalBuild": config.experimental,
        "ServerVersion": __version__,
        "Runtimes": {"sampan": {"path": "sampan-runtime"}},
        "DefaultRuntime": "sampan",
        "Swarm": _NO_SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": config.init_path or "built-in",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": __version__},
        "InitCommit": {"ID": ""},
        "SecurityOptions": _security_options(engine),
        "FirewallBackend": {"Driver": "nftables" if config.firewall else "none"},
        "CDISpecDirs": [],
        "DefaultAddressPools": [{"Base": pool.base, "Size": pool.size} for pool in config.default_address_pools],
        "Warnings": engine.warnings or None,
    }


def _machine() -> dict[str, Any]:
    release = host.os_release()
    return {
        "KernelVersion": host.kernel_version(),
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": host.machine(),
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": host.memory_total_bytes(),
        "HttpProxy": os.environ.get("HTTP_PROXY", ""),
        "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
        "NoProxy": os.environ.get("NO_PROXY", ""),
    }


def _limits() -> dict[str, bool]:
    names = ("MemoryLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit")
    return {
        **dict.fromkeys(names, True),
        "SwapLimit": os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") or cgroup.version() == 2,
        "OomKillDisable": cgroup.version() == 1,
        "IPv4Forwarding": host.ip_forwarding(),
    }


def _registries(engine: Engine) -> dict[str, Any]:
    insecure = engine.config.insecure_registries
    hub = {"Name": "docker.io", "Mirrors": engine.config.registry_mirrors, "Secure": True, "Official": True}
    hosts = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in insecure if "/" not in name
    }
    return {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *(name for name in insecure if "/" in name)],
        "IndexConfigs": {"docker.io": hub, **hosts},
        "Mirrors": engine.config.registry_mirrors or None,
    }


def _security_options(engine: Engine) -> list[str]:
    options = ["name=seccomp,profile=" + (engine.config.seccomp_profile or "builtin")]
    if engine.config.userns_remap:
        options.append("name=userns")
    if cgroup.version() == 2:
        options.append("name=cgroupns")
    return options


async def disk_usage(engine: Engine, kinds: set[str]) -> dict[str, Any]:
    """The body of `GET /system/df` for the kinds asked for (`container`, `image`, `volume`, `build-cache`).

    `LayersSize` counts each layer of images once, however many share it; layers of the build cache alone are there.
    """
    usage: dict[str, Any] = {}
    if "image" in kinds:
        usage["LayersSize"] = engine.image_service.layers_size()
        usage["Images"] = engine.image_service.disk_usage()
    if "container" in kinds:
        usage["Containers"] = await engine.containers.list({"all": True, "size": True})
    if "volume" in kinds:
        usage["Volumes"] = await volumes.disk_usage(engine)
    if "build-cache" in kinds:
        usage["BuildCache"] = engine.builder.disk_usage()
    return usage

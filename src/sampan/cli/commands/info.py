"""`sampan info`."""

from __future__ import annotations

import sys

from sampan import __version__
from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.client.transport import EngineUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
-f, --format string   Print through a template: 'json' or 'TEMPLATE' (Go's template language)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    client = {"Debug": False, "Version": __version__, "Context": "default", "Plugins": [], "Warnings": None}
    try:
        info = context.engine.system.info()
    except EngineUnreachable:
        if not options.text("format"):
            sys.stdout.write(_client_text())
        raise
    if options.text("format"):
        from sampan.cli.template import print_value

        print_value(options.text("format"), {**info, "ClientInfo": client})
        return 0
    sys.stdout.write(_client_text() + "\nServer:\n" + "\n".join(_server_lines(info)) + "\n\n")
    sys.stdout.flush()
    for warning in info.get("Warnings") or []:
        context.warn(warning)
    return 0


def _client_text() -> str:
    return f"Client:\n Version:    {__version__}\n Context:    default\n Debug Mode: false\n"


def _server_lines(info: dict[str, Any]) -> list[str]:
    lines = [
        f" Containers: {info['Containers']}",
        f"  Running: {info['ContainersRunning']}",
        f"  Paused: {info['ContainersPaused']}",
        f"  Stopped: {info['ContainersStopped']}",
        f" Images: {info['Images']}",
        f" Server Version: {info['ServerVersion']}",
        f" Storage Driver: {info['Driver']}",
        *(f"  {key}: {value}" for key, value in info.get("DriverStatus") or []),
        f" Logging Driver: {info['LoggingDriver']}",
        f" Cgroup Driver: {info['CgroupDriver']}",
        f" Cgroup Version: {info.get('CgroupVersion', '')}",
        *_plugin_lines(info.get("Plugins") or {}),
        f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', 'inactive')}",
        f" Runtimes: {' '.join(sorted(info.get('Runtimes') or {}))}",
        f" Default Runtime: {info.get('DefaultRuntime', '')}",
        f" Init Binary: {info.get('InitBinary', '')}",
    ]
    for name in ("containerd", "runc", "init"):
        commit = (info.get(f"{name[0].upper()}{name[1:]}Commit") or {}).get("ID")
        if commit is not None:
            lines.append(f" {name} version: {commit}")
    lines.extend(_security_lines(info.get("SecurityOptions") or []))
    lines += _machine_lines(info)
    lines += [
        f" {label}: {info[key]}"
        for label, key in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy"))
        if info.get(key)
    ]
    if info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in info["Labels"])]
    lines.append(f" Experimental: {_word(info.get('ExperimentalBuild'))}")
    lines += _registry_lines(info.get("RegistryConfig") or {})
    lines.append(f" Live Restore Enabled: {_word(info.get('LiveRestoreEnabled'))}")
    if info.get("ProductLicense"):
        lines.append(f" Product License: {info['ProductLicense']}")
    for pool in info.get("DefaultAddressPools") or []:
        lines.append(f"   Base: {pool['Base']}, Size: {pool['Size']}")
    return lines


def _machine_lines(info: dict[str, Any]) -> list[str]:
    lines = [
        f" Kernel Version: {info['KernelVersion']}",
        f" Operating System: {info['OperatingSystem']}",
        f" OSType: {info['OSType']}",
        f" Architecture: {info['Architecture']}",
        f" CPUs: {info['NCPU']}",
        f" Total Memory: {_memory(info['MemTotal'])}",
        f" Name: {info['Name']}",
        f" ID: {info['ID']}",
        f" Docker Root Dir: {info['DockerRootDir']}",
        f" Debug Mode: {_word(info.get('Debug'))}",
    ]
    if info.get("Debug"):
        lines += [
            f"  {label}: {info.get(key)}"
            for label, key in (
                ("File Descriptors", "NFd"),
                ("Goroutines", "NGoroutines"),
                ("System Time", "SystemTime"),
                ("EventsListeners", "NEventsListener"),
            )
        ]
    return lines


def _plugin_lines(plugins: dict[str, Any]) -> list[str]:
    kinds = [kind for kind in ("Volume", "Network", "Authorization", "Log") if plugins.get(kind)]
    return [" Plugins:", *(f"  {kind}: {' '.join(plugins[kind])}" for kind in kinds)]


def _security_lines(options: list[str]) -> list[str]:
    lines = [" Security Options:"] if options else []
    for option in options:
        values = dict(part.partition("=")[::2] for part in option.split(","))
        lines.append(f"  {values.pop('name', option)}")
        lines.extend(f"   {key.capitalize()}: {value}" for key, value in values.items())
    return lines


def _registry_lines(registry: dict[str, Any]) -> list[str]:
    insecure = [name for name, index in (registry.get("IndexConfigs") or {}).items() if not index.get("Secure", True)]
    lines = [f"  {name}" for name in [*insecure, *(registry.get("InsecureRegistryCIDRs") or [])]]
    if lines:
        lines.insert(0, " Insecure Registries:")
    if registry.get("Mirrors"):
        lines += [" Registry Mirrors:", *(f"  {mirror}" for mirror in registry["Mirrors"])]
    return lines


def _memory(size_bytes: int) -> str:
    from sampan.types.sizes import binary_size

    return binary_size(size_bytes)


def _word(value: object) -> str:
    return "true" if value else "false"


COMMAND = Command(run, "", 0, 0, FLAGS)

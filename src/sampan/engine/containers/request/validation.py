"""What a create request must not say: an ordered list of small checks that reads like the policy, in Docker's words.

Each check takes a `Request` and raises, or returns None or a warning for the client.
"""

from __future__ import annotations

import os
import re
from typing import Any

from sampan.engine.config import EngineConfig
from sampan.engine.containers.request import network, resources
from sampan.engine.containers.request.capabilities import normalise_capabilities
from sampan.engine.containers.request.resources import Check, Request
from sampan.engine.containers.signals import signal_number
from sampan.errors import InvalidArgument, SampanError
from sampan.logs.writer import parse_size

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MIN_HEALTH_NS = 1_000_000
_RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
LOG_OPTIONS = {
    "local": {"max-size", "max-file", "compress"},
    "json-file": {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"},
    "none": set(),
}
_COMMON_LOG_OPTIONS = {
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
}


def validate(config: dict[str, Any], host: dict[str, Any], engine: EngineConfig) -> list[str]:
    """Run all checks; gives the warnings.

    Raises:
        InvalidArgument: the first thing that is wrong (`SampanError` where Docker answers 500).
    """
    request = Request(config, host, engine)
    return [warning for check in CHECKS if (warning := check(request))]


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidArgument(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        )


def _strings(request: Request) -> None:
    for name in ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild"):
        if any(not isinstance(item, str) for item in request.config[name] or ()):
            raise InvalidArgument(
                f"invalid JSON: json: cannot unmarshal number into Go struct field Config.{name} of type string"
            )
    for source, name in ((request.config, "Labels"), (request.host, "Annotations"), (request.host, "Sysctls")):
        if any(not isinstance(item, str) for item in (source[name] or {}).values()):
            raise InvalidArgument(
                f"invalid JSON: json: cannot unmarshal number into Go struct field {name} of type string"
            )
    for text in (*(request.config["Env"] or ()), *(request.config["Cmd"] or ()), *(request.config["Entrypoint"] or ())):
        if "\0" in text:
            raise InvalidArgument("invalid argument: a NUL byte cannot be part of a command or its environment")


def _environment(request: Request) -> None:
    for variable in request.config["Env"] or ():
        if not variable or variable.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {variable}")


def _working_directory(request: Request) -> None:
    directory = request.config["WorkingDir"]
    if directory and not directory.startswith("/"):
        raise InvalidArgument(f"the working directory '{directory}' is invalid, it needs to be an absolute path")


def _stop_signal(request: Request) -> None:
    if request.config["StopSignal"]:
        signal_number(request.config["StopSignal"])


def _healthcheck(request: Request) -> None:
    health = request.config["Healthcheck"]
    if not health:
        return
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = health.get(name) or 0
        if not isinstance(value, int):
            raise InvalidArgument(f"invalid JSON: json: cannot unmarshal value into Go struct field Healthcheck.{name}")
        if value and value < _MIN_HEALTH_NS:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if (health.get("Retries") or 0) < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    test = health.get("Test") or []
    if test and test[0] not in ("NONE", "CMD", "CMD-SHELL", ""):
        raise InvalidArgument(f"Unknown healthcheck type '{test[0]}' (expected 'CMD')")


def _restart(request: Request) -> None:
    policy = request.host["RestartPolicy"]
    check_restart_policy(policy)
    if request.host["AutoRemove"] and policy["Name"] not in ("", "no"):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")


def check_restart_policy(policy: dict[str, Any]) -> None:
    name, retries = policy.get("Name", ""), policy.get("MaximumRetryCount") or 0
    if name not in ("", *_RESTART_POLICIES):
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if not isinstance(retries, int) or retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if retries and name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")


def _capabilities(request: Request) -> None:
    normalise_capabilities(request.host["CapAdd"], "CapAdd")
    normalise_capabilities(request.host["CapDrop"], "CapDrop")


def _namespace_modes(request: Request) -> None:
    host = request.host
    if not _is_mode(host["IpcMode"], ("none", "private", "shareable", "host")):
        raise InvalidArgument(f"invalid IPC mode: {host['IpcMode']}")
    if not _is_mode(host["PidMode"], ("host",)):
        raise InvalidArgument(f"invalid PID mode: {host['PidMode']}")
    if host["UTSMode"] not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host['UTSMode']}")
    if host["CgroupnsMode"] not in ("", "private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host['CgroupnsMode']}")
    if host["UsernsMode"] not in ("", "host"):
        raise InvalidArgument(f"invalid user namespace mode: {host['UsernsMode']}")
    if host["Isolation"] not in ("", "default"):
        raise SampanError(f"Invalid isolation: \"{host['Isolation']}\" - linux only supports 'default'")
    if host["Cgroup"]:
        raise InvalidArgument(f"invalid cgroup specification: {host['Cgroup']}")


def _user_namespace(request: Request) -> None:
    """Under `--userns-remap`, what a container's root would need rights of the host's root for."""
    host = request.host
    if not request.engine.userns_remap or host["UsernsMode"] == "host":
        return
    if host["Privileged"]:
        raise InvalidArgument(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace "
            "when running privileged mode"
        )
    if host["NetworkMode"] == "host":
        raise InvalidArgument("cannot share the host's network namespace when user namespaces are enabled")
    if host["PidMode"] == "host":
        raise InvalidArgument("cannot share the host PID namespace when user namespaces are enabled")


def _is_mode(mode: str, plain: tuple[str, ...]) -> bool:
    return mode in ("", *plain) or (mode.startswith("container:") and len(mode) > len("container:"))


def _storage(request: Request) -> None:
    if request.host["StorageOpt"]:
        raise SampanError("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")


def _log_driver(request: Request) -> None:
    driver, options = request.host["LogConfig"]["Type"], request.host["LogConfig"]["Config"]
    if driver not in LOG_OPTIONS:
        raise InvalidArgument(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    for option, value in options.items():
        if option not in LOG_OPTIONS[driver] | _COMMON_LOG_OPTIONS:
            words = f"log driver {driver}" if driver == "local" else f"{driver} log driver"
            raise InvalidArgument(f"unknown log opt '{option}' for {words}")
        if option == "mode" and value not in ("blocking", "non-blocking"):
            raise InvalidArgument(f"logger: logging mode not supported: {value}")
    _log_bounds(options)


def _log_bounds(options: dict[str, str]) -> None:
    prefix = "failed to create task for container: failed to initialize logging driver: "
    for option in ("max-size", "max-buffer-size"):
        try:
            parse_size(options.get(option) or "-1")
        except InvalidArgument as error:
            raise InvalidArgument(prefix + error.message) from None
    files = options.get("max-file") or "1"
    if not files.lstrip("-").isdecimal():
        raise InvalidArgument(f'{prefix}strconv.Atoi: parsing "{files}": invalid syntax')
    if int(files) < 1:
        raise InvalidArgument(prefix + "max-file cannot be less than 1")


def _runtime(request: Request) -> None:
    name = request.host["Runtime"]
    if name not in ("sampan", "runc", "io.containerd.runc.v2", *request.engine.runtimes):
        raise InvalidArgument(f"unknown or invalid runtime name: {name}")
    if name in request.engine.runtimes:
        raise SampanError(f"runtime {name} is configured, but this version starts containers with its own runtime only")


def _security(request: Request) -> None:
    for option in request.host["SecurityOpt"] or ():
        if option in ("no-new-privileges", "systempaths=unconfined"):
            continue
        separator = "=" if "=" in option else ":"
        key, _, value = option.partition(separator)
        if key == "no-new-privileges" and value in ("true", "false", "1", "0"):
            continue
        if key in ("seccomp", "apparmor", "label", "writable-cgroups") and value:
            _security_value(key, value)
            continue
        raise SampanError(
            f'invalid --security-opt {2 if value else 1}: "{option}"'
        )  # Docker counts the parts, not the options


def _security_value(key: str, value: str) -> None:
    if (
        key == "apparmor"
        and value not in ("unconfined", "docker-default")
        and not os.path.isdir("/sys/kernel/security/apparmor")
    ):
        raise InvalidArgument(f"apparmor profile {value} cannot be used: AppArmor is not enabled on this kernel")
    if key == "label" and value != "disable":
        raise InvalidArgument("SELinux is not enabled on this kernel: label options cannot be used")
    if key == "writable-cgroups" and value not in ("true", "false"):
        raise InvalidArgument(f'invalid --security-opt: "writable-cgroups={value}"')


def _device_rules(request: Request) -> None:
    for rule in request.host["DeviceCgroupRules"] or ():
        if not re.fullmatch(r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}", rule):
            raise InvalidArgument(f"invalid device cgroup rule format: '{rule}'")
    for device in request.host["Devices"] or ():
        permissions = device.get("CgroupPermissions") or "rwm"
        if not re.fullmatch(r"[rwm]{1,3}", permissions):
            raise InvalidArgument(f"invalid device mode: {permissions}")


CHECKS: list[Check] = [
    _strings,
    _environment,
    _working_directory,
    _stop_signal,
    _healthcheck,
    network.hostname,
    network.mac_address,
    _restart,
    network.extra_hosts,
    network.dns,
    network.ports,
    _capabilities,
    _namespace_modes,
    _user_namespace,
    network.mode,
    network.uts_and_hostname,
    *resources.CHECKS,
    _storage,
    _log_driver,
    _runtime,
    _security,
    _device_rules,
]

"""What a create request must not say: an ordered list of small checks that reads like the policy, in Docker's words.

Each check takes a `Request` and raises, or returns None or a warning for the client.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any

from sampan.engine.config import EngineConfig
from sampan.engine.containers.request import resources
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
CAPABILITIES = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)


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


def _extra_hosts(request: Request) -> None:
    for entry in request.host["ExtraHosts"] or ():
        name, separator, address = entry.partition("=" if "=" in entry else ":")
        if not separator or not name:
            raise InvalidArgument(f'bad format for add-host: "{entry}"')
        if address != "host-gateway":
            _address(address.strip("[]"), f'invalid IP address in add-host: "{address}"')


def _dns(request: Request) -> None:
    for address in request.host["Dns"] or ():
        _address(address, f"bad nameserver address: {address}: ParseAddr: unable to parse IP")


def _address(text: str, message: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(message) from None


_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def _ports(request: Request) -> str | None:
    for port in (*(request.config["ExposedPorts"] or ()), *(request.host["PortBindings"] or ())):
        found = _PORT.fullmatch(port)
        if not found or not 0 < int(found[1]) <= 65535:
            raise InvalidArgument(f'invalid port specification: "{port.partition("/")[0]}"')
    for bindings in (request.host["PortBindings"] or {}).values():
        for binding in bindings or ():
            number = str(binding.get("HostPort") or "0")
            ends = number.split("-")
            if len(ends) > 2 or not all(end.isdecimal() and int(end) <= 65535 for end in ends):
                raise InvalidArgument(f'invalid port specification: "{number}"')
            if binding.get("HostIp"):
                _address(binding["HostIp"], f"invalid IP address: {binding['HostIp']}")
    if request.host["PortBindings"] and request.host["NetworkMode"] == "host":
        return "Published ports are discarded when using host network mode"
    return None


def normalise_capabilities(names: list[str] | None, field: str) -> list[str]:
    """`CAP_`-prefixed upper-case names; `ALL` stays.

    Raises:
        InvalidArgument: an unknown capability.
    """
    found = []
    for name in names or ():
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full == "CAP_ALL":
            full = "ALL"
        if full != "ALL" and full not in CAPABILITIES:
            raise InvalidArgument(f'invalid {field}: unknown capability: "{full}"')
        found.append(full)
    return found


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


def _network_mode(request: Request) -> None:
    mode, host, config = request.host["NetworkMode"], request.host, request.config
    if not mode.startswith("container:"):
        if mode == "host" and host["Links"]:
            raise InvalidArgument(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        return
    if mode == "container:":
        raise InvalidArgument("Invalid network mode: invalid container format container:<name|id>")
    conflicts = (
        (config["Hostname"], "hostname and the network mode"),
        (host["Dns"], "dns and the network mode"),
        (host["ExtraHosts"], "custom host-to-IP mapping and the network mode"),
        (config["MacAddress"], "mac-address and the network mode"),
        (host["PublishAllPorts"] or host["PortBindings"], "port publishing and the container type network mode"),
        (config["ExposedPorts"], "port exposing and the container type network mode"),
    )
    if host["Links"]:
        raise InvalidArgument(
            "conflicting options: container type network can't be used with links. This would result in undefined behavior"
        )
    for value, text in conflicts:
        if value:
            raise InvalidArgument(f"conflicting options: {text}")


def _uts_and_hostname(request: Request) -> None:
    if request.host["UTSMode"] == "host" and request.config["Hostname"]:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_NAME = 64  # of sethostname(2)


def _hostname(request: Request) -> None:
    """Both end up in files of lines, and in the kernel's limits."""
    for name, text in (("hostname", request.config["Hostname"]), ("domain name", request.config["Domainname"])):
        if len(text.encode()) > _MAX_NAME or _CONTROL.search(text):
            raise InvalidArgument(f"invalid {name}: {text!r}: at most {_MAX_NAME} bytes, without control characters")


_MAC = re.compile(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")


def check_mac(address: str, network: str) -> None:
    if address and not _MAC.fullmatch(address):
        raise InvalidArgument(f"invalid config for network {network}: invalid MAC address {address}")


def _mac_address(request: Request) -> None:
    check_mac(request.config["MacAddress"], request.host["NetworkMode"])


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
    _hostname,
    _mac_address,
    _restart,
    _extra_hosts,
    _dns,
    _ports,
    _capabilities,
    _namespace_modes,
    _user_namespace,
    _network_mode,
    _uts_and_hostname,
    *resources.CHECKS,
    _storage,
    _log_driver,
    _runtime,
    _security,
    _device_rules,
]

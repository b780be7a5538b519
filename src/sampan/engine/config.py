"""The engine's configuration: `daemon.json`, whose keys are dockerd's, under the flags of the command line.

As with dockerd, a key may stand in the file or among the flags, not in both; lists of the two do not merge.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import msgspec

from sampan.errors import InvalidArgument

DEFAULT_CONFIG_FILE = "/etc/sampan/daemon.json"
DEFAULT_EXEC_ROOT = "/run/sampan"
_LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


class AddressPool(msgspec.Struct, frozen=True):
    """`--default-address-pool base=172.30.0.0/16,size=24`: networks get subnets of `size` out of `base`."""

    base: str
    size: int


class Ulimit(msgspec.Struct, frozen=True, rename="pascal"):
    name: str
    soft: int = -1
    hard: int = -1


class Runtime(msgspec.Struct, frozen=True, rename={"args": "runtimeArgs"}):
    """An OCI runtime beside our own: `"runtimes": {"crun": {"path": "/usr/bin/crun"}}`."""

    path: str
    args: list[str] = []


class EngineConfig(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """Fields are dockerd's keys; those that Sampan adds say so."""

    hosts: list[str] = []
    data_root: str = "/var/lib/sampan"
    exec_root: str = DEFAULT_EXEC_ROOT
    pidfile: str = ""
    group: str = ""
    debug: bool = False
    log_level: str = "info"
    labels: list[str] = []
    experimental: bool = False
    live_restore: bool = True
    shutdown_timeout: int = 15
    # networks
    bridge: str = ""
    bip: str = ""
    fixed_cidr: str = ""
    default_gateway: str = ""
    default_address_pools: list[AddressPool] = []
    mtu: int = 1500
    ip: str = "0.0.0.0"
    icc: bool = True
    ip_forward: bool = True
    ip_masq: bool = True
    ipv6: bool = False
    fixed_cidr_v6: str = ""
    userland_proxy: bool = True
    firewall: bool = True  # ours; dockerd's `iptables` is taken as its other name
    dns: list[str] = []
    dns_opts: list[str] = []
    dns_search: list[str] = []
    host_gateway_ip: str = ""
    # containers
    cgroup_parent: str = ""
    default_ulimits: dict[str, Ulimit] = {}
    default_shm_size: int = 64 << 20
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = "private"
    default_pids_limit: int = 0  # ours; 0: no limit, as Docker's default
    init: bool = False
    init_path: str = ""
    no_new_privileges: bool = False
    seccomp_profile: str = ""
    userns_remap: str = ""
    default_runtime: str = "sampan"
    runtimes: dict[str, Runtime] = {}
    log_driver: str = "json-file"  # docker-py reads the output of `run` under this name only; bounded all the same
    log_opts: dict[str, str] = {}
    storage_driver: str = "overlay2"
    # registries
    registry_mirrors: list[str] = []
    insecure_registries: list[str] = []
    max_concurrent_downloads: int = 6
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    # TLS
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""

    @property
    def instance(self) -> str:
        """What tells this engine's bridge, table and cgroups from another's on the same machine: it follows from the
        exec root, so that engines with roots of their own never meet."""
        if self.exec_root == DEFAULT_EXEC_ROOT:
            return "sampan"
        return "sampan-" + hashlib.sha256(os.path.abspath(self.exec_root).encode()).hexdigest()[:6]

    @property
    def bridge_name(self) -> str:
        """The default network's bridge (IFNAMSIZ allows 15 bytes)."""
        if self.bridge and self.bridge != "none":
            return self.bridge
        return "sampan0" if self.instance == "sampan" else "sam" + self.instance.partition("-")[2]

    @property
    def table_name(self) -> str:
        """The nftables table that is ours."""
        return self.instance

    @property
    def cgroup_root(self) -> str:
        """The cgroup below which all containers of this engine live, unless they name a parent of their own."""
        return "/" + (self.cgroup_parent.strip("/") or self.instance)

    @property
    def socket_path(self) -> str:
        return f"{self.exec_root}/sampan.sock"

    @property
    def pidfile_path(self) -> str:
        return self.pidfile or f"{self.exec_root}/sampand.pid"


def load(path: str, flags: dict[str, Any], *, required: bool) -> EngineConfig:
    """The configuration from a file (which may be absent unless `required`) and `flags`, by dockerd's key names.

    Raises:
        InvalidArgument: unreadable, malformed, unknown keys, or a key both in the file and among the flags.
    """
    from_file = _read(path, required)
    if "iptables" in from_file:
        from_file["firewall"] = from_file.pop("iptables")
    if both := sorted(set(from_file) & set(flags)):
        listed = ", ".join(f"{key}: (from flag: {flags[key]}, from file: {from_file[key]})" for key in both)
        raise InvalidArgument(
            f"unable to configure the engine with file {path}: the following directives are specified both as a flag "
            f"and in the configuration file: {listed}"
        )
    try:
        config = msgspec.convert({**from_file, **flags}, EngineConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"unable to configure the engine with file {path}: {error}") from None
    _check(config)
    return config


def _read(path: str, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if required:
            raise InvalidArgument(f"unable to configure the engine: no such file: {path}") from None
        return {}
    except OSError as error:
        raise InvalidArgument(f"unable to configure the engine with file {path}: {error.strerror}") from None
    try:
        value = msgspec.json.decode(data) if data.strip() else {}
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"unable to configure the engine with file {path}: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"unable to configure the engine with file {path}: it must hold a JSON object")
    return value


def _check(config: EngineConfig) -> None:
    if config.log_level not in _LOG_LEVELS:
        raise InvalidArgument(f"invalid logging level: {config.log_level} (one of {', '.join(_LOG_LEVELS)})")
    for host in config.hosts:
        if not host.startswith(("unix://", "tcp://", "fd://")):
            raise InvalidArgument(f"invalid bind address ({host}): use unix:///path, tcp://host:port or fd://")
    for label in config.labels:
        if "=" not in label:
            raise InvalidArgument(f"bad attribute format: {label}: labels are KEY=VALUE")
    if config.mtu < 68:
        raise InvalidArgument(f"invalid MTU: {config.mtu}")
    for mirror in config.registry_mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise InvalidArgument(f'invalid mirror: "{mirror}": it must be an http:// or https:// URL')
    if config.tlsverify and not (config.tlscacert and config.tlscert and config.tlskey):
        raise InvalidArgument("--tlsverify needs --tlscacert, --tlscert and --tlskey")
    for name in ("data_root", "exec_root"):
        if not os.path.isabs(getattr(config, name)):
            raise InvalidArgument(f"--{name.replace('_', '-')} must be an absolute path: {getattr(config, name)}")

"""The command line of `sampand`: dockerd's flags, each of which sets one key of the configuration."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sampan.errors import InvalidArgument
from sampan.types.sizes import parse_size_bytes


class Flag(NamedTuple):
    names: str
    key: str
    kind: str  # str, int, bool, list, map, size or one of the parsers below
    help: str


_FLAGS = (
    Flag("-H --host", "hosts", "list", "Address to listen on: unix:///path, tcp://host:port or fd://; repeatable"),
    Flag("--data-root", "data-root", "str", "Directory of persistent state"),
    Flag("--exec-root", "exec-root", "str", "Directory of run-time state; engines with their own never meet"),
    Flag("-p --pidfile", "pidfile", "str", "Path of the engine's PID file"),
    Flag("-G --group", "group", "str", "Group that may use the unix socket (default: docker, if it exists)"),
    Flag("-D --debug", "debug", "bool", "Log what the engine does"),
    Flag("-l --log-level", "log-level", "str", "debug, info, warn, error or fatal"),
    Flag("--label", "labels", "list", "KEY=VALUE label of the engine; repeatable"),
    Flag("--experimental", "experimental", "bool", "Enable experimental features"),
    Flag("--live-restore", "live-restore", "bool", "Accepted; containers always outlive the engine"),
    Flag("--shutdown-timeout", "shutdown-timeout", "int", "Accepted for dockerd's sake, in seconds"),
    Flag("-b --bridge", "bridge", "str", "Name of the default network's bridge"),
    Flag("--bip", "bip", "str", "Address and prefix of the default bridge, as 172.17.0.1/16"),
    Flag("--fixed-cidr", "fixed-cidr", "str", "Part of the default bridge's subnet that containers get addresses of"),
    Flag("--default-gateway", "default-gateway", "str", "Gateway of containers on the default bridge"),
    Flag("--default-address-pool", "default-address-pools", "pools", "base=CIDR,size=N for new networks; repeatable"),
    Flag("--mtu", "mtu", "int", "MTU of container networks"),
    Flag("--ip", "ip", "str", "Host address that ports are published on by default"),
    Flag("--icc", "icc", "bool", "Let containers of the default bridge talk to each other"),
    Flag("--ip-forward", "ip-forward", "bool", "Set net.ipv4.ip_forward"),
    Flag("--ip-masq", "ip-masq", "bool", "Masquerade what containers send outside"),
    Flag("--ipv6", "ipv6", "bool", "Enable IPv6 on the default bridge"),
    Flag("--fixed-cidr-v6", "fixed-cidr-v6", "str", "IPv6 subnet of the default bridge"),
    Flag("--userland-proxy", "userland-proxy", "bool", "Serve published ports on ::1 too"),
    Flag("--firewall --iptables", "firewall", "bool", "Keep an nftables table for NAT, ports and isolation"),
    Flag("--dns", "dns", "list", "DNS server of containers; repeatable"),
    Flag("--dns-opt", "dns-opts", "list", "DNS option of containers; repeatable"),
    Flag("--dns-search", "dns-search", "list", "DNS search domain of containers; repeatable"),
    Flag("--host-gateway-ip", "host-gateway-ip", "str", "Address that host-gateway stands for"),
    Flag("--cgroup-parent", "cgroup-parent", "str", "Parent cgroup of containers"),
    Flag("--default-ulimit", "default-ulimits", "ulimits", "NAME=SOFT[:HARD] of containers; repeatable"),
    Flag("--default-shm-size", "default-shm-size", "size", "Size of /dev/shm"),
    Flag("--default-ipc-mode", "default-ipc-mode", "str", "private or shareable"),
    Flag("--default-cgroupns-mode", "default-cgroupns-mode", "str", "private or host"),
    Flag("--default-pids-limit", "default-pids-limit", "int", "Processes that a container may have; 0: no limit"),
    Flag("--init", "init", "bool", "Run an init in every container"),
    Flag("--init-path", "init-path", "str", "Path of the init to use in place of the built-in one"),
    Flag("--no-new-privileges", "no-new-privileges", "bool", "Set no_new_privs in every container"),
    Flag("--seccomp-profile", "seccomp-profile", "str", "Path of a profile, or unconfined, in place of the default"),
    Flag("--userns-remap", "userns-remap", "str", "User[:group] whose subordinate ids containers run on"),
    Flag("--default-runtime", "default-runtime", "str", "OCI runtime of containers that name none"),
    Flag("--add-runtime", "runtimes", "runtimes", "NAME=PATH of a further OCI runtime; repeatable"),
    Flag("--log-driver", "log-driver", "str", "Log driver of containers: local, json-file or none"),
    Flag("--log-opt", "log-opts", "map", "KEY=VALUE option of the log driver; repeatable"),
    Flag("-s --storage-driver", "storage-driver", "str", "Accepted: overlay2"),
    Flag("--registry-mirror", "registry-mirrors", "list", "URL of a mirror of Docker Hub; repeatable"),
    Flag(
        "--insecure-registry", "insecure-registries", "list", "HOST[:PORT] or CIDR to speak plain HTTP to; repeatable"
    ),
    Flag("--max-concurrent-downloads", "max-concurrent-downloads", "int", "Layers of one pull at a time"),
    Flag("--max-concurrent-uploads", "max-concurrent-uploads", "int", "Layers of one push at a time"),
    Flag("--max-download-attempts", "max-download-attempts", "int", "Tries per layer"),
    Flag("--tls", "tls", "bool", "Use TLS on TCP; implied by --tlsverify"),
    Flag("--tlsverify", "tlsverify", "bool", "Use TLS and demand a client certificate"),
    Flag("--tlscacert", "tlscacert", "str", "CA whose clients are trusted"),
    Flag("--tlscert", "tlscert", "str", "Certificate of the engine"),
    Flag("--tlskey", "tlskey", "str", "Key of the certificate"),
)


class CommandLine(NamedTuple):
    config_file: str  # "" is the default file, which may be absent
    flags: dict[str, Any]
    validate: bool


def parse(arguments: Sequence[str], version: str) -> CommandLine:
    """The command line as configuration keys. Ends the process for `--help`, `--version` and usage errors."""
    parser = argparse.ArgumentParser(
        prog="sampand",
        usage="sampand [OPTIONS]     (all of them: sampand --help)",
        description="A container engine that speaks the Docker Engine API.",
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--version", action="version", version=f"sampand {version}")
    parser.add_argument("--config-file", default="", metavar="FILE", help="Configuration (/etc/sampan/daemon.json)")
    parser.add_argument("--validate", action="store_true", help="Check the configuration and exit")
    for flag in _FLAGS:
        names = flag.names.split()
        if flag.kind == "bool":
            parser.add_argument(*names, dest=flag.key, nargs="?", const="true", metavar="BOOL", help=flag.help)
        elif flag.kind in ("str", "int", "size"):
            parser.add_argument(*names, dest=flag.key, metavar=flag.kind.upper(), help=flag.help)
        else:
            parser.add_argument(*names, dest=flag.key, action="append", metavar="VALUE", help=flag.help)
    found = vars(parser.parse_args(arguments))
    flags = {}
    for flag in _FLAGS:
        if found[flag.key] is not None:
            flags[flag.key] = _PARSERS[flag.kind](flag.names.split()[-1], found[flag.key])
    return CommandLine(found["config_file"], flags, found["validate"])


def _bool(name: str, text: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise InvalidArgument(f'invalid argument "{text}" for "{name}" flag: it must be true or false')


def _int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f'invalid argument "{text}" for "{name}" flag: it must be a whole number') from None


def _size(name: str, text: str) -> int:
    try:
        return parse_size_bytes(text)
    except ValueError as error:
        raise InvalidArgument(f'invalid argument "{text}" for "{name}" flag: {error}') from None


def _pair(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidArgument(f'invalid argument "{text}" for "{name}" flag: it must be KEY=VALUE')
    return key, value


def _map(name: str, texts: list[str]) -> dict[str, str]:
    return dict(_pair(name, text) for text in texts)


def _runtimes(name: str, texts: list[str]) -> dict[str, Any]:
    return {key: {"path": value} for key, value in _map(name, texts).items()}


def _ulimits(name: str, texts: list[str]) -> dict[str, Any]:
    limits = {}
    for key, value in _map(name, texts).items():
        soft, _, hard = value.partition(":")
        limits[key] = {"Name": key, "Soft": _int(name, soft), "Hard": _int(name, hard or soft)}
    return limits


def _pools(name: str, texts: list[str]) -> list[dict[str, Any]]:
    pools = []
    for text in texts:
        fields = dict(_pair(name, part) for part in text.split(","))
        if set(fields) != {"base", "size"}:
            raise InvalidArgument(f'invalid argument "{text}" for "{name}" flag: it must be base=CIDR,size=N')
        pools.append({"base": fields["base"], "size": _int(name, fields["size"])})
    return pools


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "str": lambda name, text: text,
    "list": lambda name, texts: texts,
    "int": _int,
    "bool": _bool,
    "size": _size,
    "map": _map,
    "runtimes": _runtimes,
    "ulimits": _ulimits,
    "pools": _pools,
}

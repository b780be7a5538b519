"""--network, short (`NAME`) and long (`name=NAME,alias=…,ip=…`), with the flags that belong to the first network."""

from __future__ import annotations

from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_USER_DEFINED = ("default", "bridge", "host", "none", "")


def parse_networks(options: Options) -> tuple[str, dict[str, Any]]:
    """(NetworkMode, EndpointsConfig by network)."""
    endpoints: dict[str, Any] = {}
    mode = ""
    for text in options.many("network"):
        name, endpoint = parse_network(text)
        if name in endpoints:
            raise InvalidArgument(f'network "{name}" is specified multiple times')
        if not mode:
            mode = name
            _add_flags(options, endpoint)
        endpoints[name] = endpoint
    if not mode:
        mode = "default"
        endpoint = {}
        _add_flags(options, endpoint)
        if endpoint:
            endpoints["default"] = endpoint
    if len(endpoints) > 1 and (mode in ("host", "none") or mode.startswith("container:")):
        raise InvalidArgument("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    for name, endpoint in list(endpoints.items()):
        if not endpoint and (name in ("host", "none") or name.startswith("container:")):
            del endpoints[name]
    return mode, endpoints


def parse_network(text: str) -> tuple[str, dict[str, Any]]:
    """(name, endpoint settings) of one --network. Raises InvalidArgument."""
    if "=" not in text:
        return text, {}
    name, endpoint = "", {}  # type: tuple[str, dict[str, Any]]
    for field in text.split(","):
        key, _, value = (part.strip() for part in field.partition("="))
        if key == "name":
            name = value
        elif key == "alias":
            endpoint.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6"):
            endpoint.setdefault("IPAMConfig", {})["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "link-local-ip":
            endpoint.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
        elif key == "mac-address":
            endpoint["MacAddress"] = value
        elif key == "driver-opt":
            option, _, setting = value.partition("=")
            endpoint.setdefault("DriverOpts", {})[option] = setting
        elif key == "gw-priority":
            if not value.lstrip("-").isdigit():
                raise InvalidArgument(f"invalid gw-priority: {value}")
            endpoint["GwPriority"] = int(value)
        else:
            raise InvalidArgument(f'invalid argument "{text}" for "--network" flag: invalid field {key}')
    if not name:
        raise InvalidArgument(f'invalid argument "{text}" for "--network" flag: network name/id is not specified')
    return name, endpoint


def _add_flags(options: Options, endpoint: dict[str, Any]) -> None:
    """--network-alias, --ip, --ip6, --link-local-ip and --mac-address go to the first network."""
    aliases = options.many("network-alias")
    if aliases:
        endpoint["Aliases"] = endpoint.get("Aliases", []) + aliases
    ipam = endpoint.get("IPAMConfig", {})
    for flag, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if options.text(flag):
            if key in ipam:
                raise InvalidArgument(f"conflicting options: cannot specify both --{flag} and per-network address")
            ipam[key] = options.text(flag)
    if options.many("link-local-ip"):
        ipam["LinkLocalIPs"] = ipam.get("LinkLocalIPs", []) + options.many("link-local-ip")
    if ipam:
        endpoint["IPAMConfig"] = ipam
    if options.many("link") and endpoint:
        endpoint["Links"] = options.many("link")
    if options.text("mac-address"):
        endpoint.setdefault("MacAddress", options.text("mac-address"))

"""Checks of what a create request says of its network: names, addresses, ports and the mode. In Docker's words."""

from __future__ import annotations

import ipaddress
import re

from sampan.engine.containers.request.resources import Request
from sampan.errors import InvalidArgument

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAC = re.compile(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")
_MAX_NAME = 64  # of sethostname(2)
_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def hostname(request: Request) -> None:
    """Both end up in files of lines, and in the kernel's limits."""
    for name, text in (("hostname", request.config["Hostname"]), ("domain name", request.config["Domainname"])):
        if len(text.encode()) > _MAX_NAME or _CONTROL.search(text):
            raise InvalidArgument(f"invalid {name}: {text!r}: at most {_MAX_NAME} bytes, without control characters")


def check_mac(address: str, network: str) -> None:
    if address and not _MAC.fullmatch(address):
        raise InvalidArgument(f"invalid config for network {network}: invalid MAC address {address}")


def mac_address(request: Request) -> None:
    check_mac(request.config["MacAddress"], request.host["NetworkMode"])


def extra_hosts(request: Request) -> None:
    for entry in request.host["ExtraHosts"] or ():
        name, separator, address = entry.partition("=" if "=" in entry else ":")
        if not separator or not name:
            raise InvalidArgument(f'bad format for add-host: "{entry}"')
        if address != "host-gateway":
            _address(address.strip("[]"), f'invalid IP address in add-host: "{address}"')


def dns(request: Request) -> None:
    for address in request.host["Dns"] or ():
        _address(address, f"bad nameserver address: {address}: ParseAddr: unable to parse IP")


def _address(text: str, message: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(message) from None


def ports(request: Request) -> str | None:
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


def mode(request: Request) -> None:
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


def uts_and_hostname(request: Request) -> None:
    if request.host["UTSMode"] == "host" and request.config["Hostname"]:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")

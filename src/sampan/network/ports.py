"""Docker's port notation. Pure.

`PortBindings` is `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`: an empty host port means any free one, `8000-8010`
means a free one of the range, an empty host address means all of both IP versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from sampan.errors import InvalidArgument
from sampan.network.model import Publication

PROTOCOLS = ("tcp", "udp", "sctp")


class PortRequest(NamedTuple):
    """Publish `container_port` on one of the host ports from `first` to `last` (0 and 0: any free one)."""

    protocol: str
    container_port: int
    host_ip: str
    first: int
    last: int

    @property
    def key(self) -> str:
        return f"{self.container_port}/{self.protocol}"


def parse_port(text: str) -> tuple[int, str]:
    """`80/tcp` or `80` as (80, "tcp").

    Raises:
        InvalidArgument: no port number, or an unknown protocol.
    """
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f'invalid port specification: "{text}": invalid proto: {protocol}')
    return _number(number, text), protocol


def parse_host_port(text: str) -> tuple[int, int]:
    """An empty text as (0, 0), `8080` as (8080, 8080), `8000-8010` as (8000, 8010).

    Raises:
        InvalidArgument: neither.
    """
    if text in ("", "0"):
        return 0, 0
    low, dash, high = text.partition("-")
    first = _number(low, text)
    last = _number(high, text) if dash else first
    if last < first:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return first, last


def _number(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits) <= 65535):
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return int(digits)


def requests(
    bindings: Mapping[str, Any] | None, exposed: Iterable[str] = (), *, publish_all: bool = False, default_ip: str = ""
) -> list[PortRequest]:
    """All that is to be published, sorted by container port. `default_ip` stands in for an empty host address.

    Raises:
        InvalidArgument: bad notation.
    """
    found: list[PortRequest] = []
    for key, places in (bindings or {}).items():
        port, protocol = parse_port(key)
        for place in places or [{}]:
            first, last = parse_host_port(str((place or {}).get("HostPort") or ""))
            host_ip = _host_ip((place or {}).get("HostIp") or default_ip)
            found.append(PortRequest(protocol, port, host_ip, first, last))
    if publish_all:
        known = {request.key for request in found}
        extra = [parse_port(text) for text in exposed]
        found += [PortRequest(kind, port, default_ip, 0, 0) for port, kind in extra if f"{port}/{kind}" not in known]
    # Explicit ports first, so that no random choice takes one of them.
    return sorted(found, key=lambda request: (request.first == 0, request.container_port, request.protocol))


def _host_ip(text: str) -> str:
    try:
        return str(ip_address(text.strip("[]"))) if text else ""
    except ValueError:
        raise InvalidArgument(f"invalid IP address in port mapping: {text}") from None


def to_docker(publications: Iterable[Publication], exposed: Iterable[str] = ()) -> dict[str, Any]:
    """`NetworkSettings.Ports`: `{"80/tcp": [{"HostIp", "HostPort"}], "443/tcp": None}`."""
    found: dict[str, Any] = {}
    for text in exposed:
        number, protocol = parse_port(text)
        found[f"{number}/{protocol}"] = None
    for each in publications:
        key = f"{each.container_port}/{each.protocol}"
        found[key] = [*(found.get(key) or []), {"HostIp": each.host_ip, "HostPort": str(each.host_port)}]
    return found

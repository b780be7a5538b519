"""--publish and --expose: `[[address:]host port[-port]:]port[-port][/protocol]`."""

from __future__ import annotations

from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    Bindings = dict[str, list[dict[str, str]]]

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_published(published: list[str], exposed: list[str]) -> tuple[list[str], Bindings]:
    """(exposed ports as "80/tcp", bindings of the published ones). Raises InvalidArgument in Docker's words."""
    ports: list[str] = []
    bindings: Bindings = {}
    for text in published:
        for port, binding in parse_publish(text):
            if port not in ports:
                ports.append(port)
            bindings.setdefault(port, []).append(binding)
    for text in exposed:
        if ":" in text:
            raise InvalidArgument(f"invalid port format for --expose: {text}")
        body, protocol = _protocol(text)
        start, end = _range(body, text, "--expose")
        for number in range(start, end + 1):
            port = f"{number}/{protocol}"
            if port not in ports:
                ports.append(port)
    return ports, bindings


def parse_publish(text: str) -> list[tuple[str, dict[str, str]]]:
    """One --publish as (port, {"HostIp", "HostPort"}) for each port of its range."""
    if "=" in text:
        return [_long_form(text)]
    body, protocol = _protocol(text)
    rest, _, container = body.rpartition(":")
    address, _, host = _split_address(rest)
    if address and not _is_address(address):
        raise InvalidArgument(f"invalid IP address: {address}")
    if not container:
        raise InvalidArgument(f"no port specified: {text}<empty>")
    start, end = _range(container, text, "containerPort")
    if not host:
        return [(f"{number}/{protocol}", {"HostIp": address, "HostPort": ""}) for number in range(start, end + 1)]
    host_start, host_end = _range(host, text, "hostPort")
    if host_end - host_start != end - start:
        # One port on a range of the host: the engine takes the first that is free.
        if start != end:
            raise InvalidArgument(f"invalid ranges specified for container and host Ports: {container} and {host}")
        return [(f"{start}/{protocol}", {"HostIp": address, "HostPort": host})]
    return [
        (f"{start + offset}/{protocol}", {"HostIp": address, "HostPort": str(host_start + offset)})
        for offset in range(end - start + 1)
    ]


def _long_form(text: str) -> tuple[str, dict[str, str]]:
    values = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in ("target", "published", "protocol", "mode") or not value:
            raise InvalidArgument(f"invalid field {part!r} in published port {text!r}")
        values[key] = value
    if "target" not in values:
        raise InvalidArgument(f"no port specified: {text}")
    _range(values["target"], text, "target")
    return f"{values['target']}/{values.get('protocol', 'tcp')}", {
        "HostIp": "",
        "HostPort": values.get("published", ""),
    }


def _protocol(text: str) -> tuple[str, str]:
    body, mark, protocol = text.partition("/")
    protocol = protocol.lower() if mark else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(f"invalid proto: {protocol}")
    return body, protocol


def _split_address(rest: str) -> tuple[str, str, str]:
    if rest.startswith("["):
        address, _, tail = rest[1:].partition("]")
        return address, ":", tail.removeprefix(":")
    address, mark, host = rest.rpartition(":")
    return address, mark, host


def _is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
            return True
        except OSError:
            continue  # not of this family
    return False


def _range(text: str, whole: str, what: str) -> tuple[int, int]:
    first, mark, last = text.partition("-")
    last = last if mark else first
    if not (first.isdigit() and last.isdigit()) or int(first) > 65535 or int(last) > 65535 or int(last) < int(first):
        raise InvalidArgument(
            f"invalid {what}: {text}", hint=f"in {whole!r}: ports are 1 to 65535, ranges are low-high"
        )
    return int(first), int(last)

"""Published ports: reserve on the host, translate in the firewall, carry in user space what the firewall does not."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from typing import NamedTuple

from sampan.errors import Internal
from sampan.network import forwarder
from sampan.network.firewall import Firewall
from sampan.network.forwarder import Forwarder
from sampan.network.model import Endpoint, Publication
from sampan.network.ports import PortRequest

_log = logging.getLogger(__name__)
_RANDOM_TRIES = 20


class _Held(NamedTuple):
    publication: Publication
    forwarder: Forwarder | None


class Publisher:
    """All published ports of one engine, by container. Belongs to the event loop; its kernel work takes microseconds."""

    def __init__(self, firewall: Firewall | None) -> None:
        self._firewall = firewall
        self._held: dict[str, list[_Held]] = {}

    def publish(self, endpoint: Endpoint, requests: Iterable[PortRequest]) -> list[Publication]:
        """Publish all, or none.

        Raises:
            Internal: a port is taken, or an address is not the host's (Docker's words and its status 500).
        """
        held: list[_Held] = []
        try:
            for request in requests:
                held += self._reserve(endpoint, request)
            self._translate([each.publication for each in held])
        except OSError as error:
            _release(held)
            raise Internal(f"{_prefix(endpoint)}: {error.strerror or error}") from error
        except BaseException:
            _release(held)
            raise
        self._held.setdefault(endpoint.container_id, []).extend(held)
        return [each.publication for each in held]

    def _reserve(self, endpoint: Endpoint, request: PortRequest) -> list[_Held]:
        wanted = [request.host_ip] if request.host_ip else ["0.0.0.0", "::"]
        for port in range(request.first, request.last + 1):
            for _ in range(1 if port else _RANDOM_TRIES):
                try:
                    return _hold(endpoint, request, wanted, port)
                except OSError as error:
                    failure = error
                    if error.errno != errno.EADDRINUSE:
                        break
        raise Internal(f"{_prefix(endpoint)}: {self._reason(endpoint, request, wanted[0], failure)}")

    def _reason(self, endpoint: Endpoint, request: PortRequest, host_ip: str, failure: OSError) -> str:
        place = f"[{host_ip}]" if ":" in host_ip else host_ip
        if failure.errno == errno.EADDRINUSE:
            return f"Bind for {place}:{request.first} failed: port is already allocated"
        text = (failure.strerror or str(failure)).lower()
        target = f"{endpoint.ipv4}:{request.key}"
        return f"failed to bind host port for {place}:{request.first}:{target}: {text}"

    def _translate(self, publications: list[Publication]) -> None:
        if self._firewall is not None and publications:
            self._firewall.publish(publications)

    def adopt(self, publications: Iterable[Publication], endpoint: Endpoint) -> None:
        """Reserve again, after a restart, what the firewall already translates. A port that another program has taken
        meanwhile is reported and left to it."""
        for publication in publications:
            try:
                held = forwarder.reserve(publication.protocol, publication.host_ip, publication.host_port)
            except OSError as error:
                _log.warning(
                    "port %s/%s cannot be reserved again: %s", publication.host_port, publication.protocol, error
                )
                held = None
            carrier = None
            if held is not None:
                carrier = Forwarder(held, publication.protocol, (endpoint.ipv4, publication.container_port))
            self._held.setdefault(endpoint.container_id, []).append(_Held(publication, carrier))

    def publications(self) -> list[Publication]:
        return [each.publication for held in self._held.values() for each in held]

    def unpublish(self, container_id: str) -> None:
        """Give all ports of a container back; none is fine.

        Raises:
            OSError: the firewall refused; the ports are free all the same.
        """
        held = self._held.pop(container_id, [])
        _release(held)
        if self._firewall is not None and held:
            self._firewall.unpublish(each.publication for each in held)

    def close(self) -> None:
        """Free the sockets; the firewall goes on translating."""
        for held in self._held.values():
            _release(held)
        self._held.clear()


def _hold(endpoint: Endpoint, request: PortRequest, addresses: list[str], port: int) -> list[_Held]:
    """The same port on every address; a random one is chosen by the first of them.

    Raises:
        OSError: on one of them it is not to be had.
    """
    found: list[_Held] = []
    try:
        for host_ip in addresses:
            held = forwarder.reserve(request.protocol, host_ip, port)
            if held is None and (host_ip == "::" or not port):
                continue
            if held is not None:
                port = held.getsockname()[1]
            inner = endpoint.ipv6 if ":" in host_ip else endpoint.ipv4
            publication = Publication(
                protocol=request.protocol,
                host_ip=host_ip,
                host_port=port,
                container_ip=inner,
                container_port=request.container_port,
            )
            target = (endpoint.ipv4 or endpoint.ipv6, request.container_port)
            found.append(_Held(publication, Forwarder(held, request.protocol, target) if held is not None else None))
    except BaseException:
        _release(found)
        raise
    return found


def _release(held: Iterable[_Held]) -> None:
    for each in held:
        if each.forwarder is not None:
            each.forwarder.close()


def _prefix(endpoint: Endpoint) -> str:
    name = endpoint.container_name or endpoint.container_id[:12]
    return f"driver failed programming external connectivity on endpoint {name} ({endpoint.endpoint_id})"

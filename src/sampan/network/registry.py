"""Which networks and endpoints there are, and their leases: memory over the database, no kernel."""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from typing import Any

import msgspec

from sampan.errors import Forbidden, InvalidArgument, NotFound
from sampan.network.ipam import Leases
from sampan.network.model import Endpoint, Network
from sampan.store.database import Database
from sampan.store.networks import NetworkRows


class Registry:
    """Every change is in the database when the call returns."""

    def __init__(self, database: Database) -> None:
        self._rows = NetworkRows(database)
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, dict[str, Endpoint]] = {}
        self._leases: dict[str, dict[int, Leases]] = {}
        self.version = 0  # grows with every change of an endpoint
        for body in self._rows.networks():
            self._know(msgspec.json.decode(body, type=Network))
        for body in self._rows.endpoints():
            endpoint = msgspec.json.decode(body, type=Endpoint)
            self._endpoints[endpoint.network_id][endpoint.container_id] = endpoint
            self._claim(endpoint)

    def _know(self, network: Network) -> None:
        self._networks[network.id] = network
        self._endpoints.setdefault(network.id, {})
        self._leases[network.id] = {subnet.network.version: Leases(subnet) for subnet in reversed(network.subnets)}

    # --- networks

    def networks(self) -> list[Network]:
        return list(self._networks.values())

    def get(self, name_or_id: str) -> Network:
        """A full id beats a name, a name beats the beginning of an id.

        Raises:
            NotFound: none.
            InvalidArgument: several.
        """
        found = self._networks.get(name_or_id)
        if found is not None:
            return found
        for candidates in (
            [network for network in self._networks.values() if network.name == name_or_id],
            [network for network in self._networks.values() if name_or_id and network.id.startswith(name_or_id)],
        ):
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                raise InvalidArgument(f"network {name_or_id} is ambiguous ({len(candidates)} matches found on name)")
        raise NotFound(f"network {name_or_id} not found")

    def by_name(self, name: str) -> Network | None:
        return next((network for network in self._networks.values() if network.name == name), None)

    def add(self, network: Network) -> None:
        self._rows.save_network(network.id, msgspec.json.encode(network))
        self._know(network)

    def reclaim(self, network_id: str) -> None:
        """Lease the endpoints' addresses again after the network's subnets were renewed."""
        for endpoint in self.endpoints(network_id):
            self._claim(endpoint)

    def _claim(self, endpoint: Endpoint) -> None:
        for version, text in ((4, endpoint.ipv4), (6, endpoint.ipv6)):
            leases = self._leases[endpoint.network_id].get(version)
            if text and leases is not None and ip_address(text) in leases:
                leases.claim(text)

    def forget(self, network: Network) -> None:
        self._rows.delete_network(network.id)
        self._networks.pop(network.id, None)
        self._endpoints.pop(network.id, None)
        self._leases.pop(network.id, None)

    # --- endpoints

    def endpoints(self, network_id: str) -> list[Endpoint]:
        return list(self._endpoints.get(network_id, {}).values())

    def endpoint(self, network_id: str, container_id: str) -> Endpoint | None:
        return self._endpoints.get(network_id, {}).get(container_id)

    def all_endpoints(self) -> list[Endpoint]:
        return [endpoint for each in self._endpoints.values() for endpoint in each.values()]

    def endpoints_of(self, container_id: str) -> list[Endpoint]:
        return [each[container_id] for each in self._endpoints.values() if container_id in each]

    def reserve(self, network: Network, container_id: str, config: dict[str, Any]) -> Endpoint:
        """A new endpoint with addresses of its own; not yet in the database (`save` does it).

        Raises:
            InvalidArgument: a fixed address outside the network's subnets.
            Forbidden: a fixed address that somebody has.
            Conflict: no address left.
        """
        ipam = config.get("IPAMConfig") or {}
        endpoint = Endpoint(
            endpoint_id=secrets.token_hex(32),
            network_id=network.id,
            network_name=network.name,
            container_id=container_id,
            gateway_priority=config.get("GwPriority") or 0,
            config=config,
        )
        try:
            self._lease(network, endpoint, 4, ipam.get("IPv4Address") or "")
            self._lease(network, endpoint, 6, ipam.get("IPv6Address") or "")
        except BaseException:
            self._release_addresses(endpoint)
            raise
        endpoint.mac = (config.get("MacAddress") or "").lower() or _mac_for(endpoint.ipv4)
        self._endpoints[network.id][container_id] = endpoint
        return endpoint

    def _lease(self, network: Network, endpoint: Endpoint, version: int, wanted: str) -> None:
        leases, subnet = self._leases[network.id].get(version), network.subnet(version)
        if leases is None or subnet is None:
            if wanted and (version == 4 or network.enable_ipv6):
                raise InvalidArgument(f"invalid endpoint settings:\nno configured subnet contains IP address {wanted}")
            return
        address = str(leases.claim(wanted) if wanted else leases.take())
        gateway = "" if network.internal else subnet.gateway
        if version == 4:
            endpoint.ipv4, endpoint.prefix, endpoint.gateway = address, subnet.network.prefixlen, gateway
        else:
            endpoint.ipv6, endpoint.ipv6_prefix, endpoint.ipv6_gateway = address, subnet.network.prefixlen, gateway

    def save(self, endpoint: Endpoint) -> None:
        self.version += 1
        body = msgspec.json.encode(endpoint)
        self._rows.save_endpoint(endpoint.endpoint_id, endpoint.network_id, endpoint.container_id, body)

    def release(self, endpoint: Endpoint) -> None:
        """The endpoint and its addresses are free again; twice is harmless."""
        known = self._endpoints.get(endpoint.network_id, {})
        if known.get(endpoint.container_id) is not endpoint:
            return
        self.version += 1
        del known[endpoint.container_id]
        self._rows.delete_endpoint(endpoint.endpoint_id)
        self._release_addresses(endpoint)

    def _release_addresses(self, endpoint: Endpoint) -> None:
        leases = self._leases.get(endpoint.network_id, {})
        for version, text in ((4, endpoint.ipv4), (6, endpoint.ipv6)):
            if text and version in leases:
                leases[version].release(text)

    def require_free(self, network: Network, container_id: str, container_name: str) -> None:
        """
        Raises:
            Forbidden: the container is in the network already.
        """
        if container_id in self._endpoints.get(network.id, {}):
            raise Forbidden(f"endpoint with name {container_name} already exists in network {network.name}")


def _mac_for(ipv4: str) -> str:
    """Locally administered, and following from the address: a neighbour's stale ARP entry then stays right."""
    tail = ip_address(ipv4).packed if ipv4 else secrets.token_bytes(4)
    return "02:42:" + tail.hex(":")

"""The three networks that every engine has: bridge, host, none."""

from __future__ import annotations

import hashlib
import time
from ipaddress import ip_interface, ip_network

from sampan.errors import InvalidArgument
from sampan.network.ipam import DEFAULT_POOLS, choose_subnet, complete, overlap
from sampan.network.links import Links
from sampan.network.model import IPNetwork, Network, NetworkSettings, Subnet
from sampan.network.registry import Registry
from sampan.types.times import rfc3339

NAMES = ("bridge", "host", "none")


def ensure(registry: Registry, links: Links, settings: NetworkSettings) -> None:
    """Create or renew the predefined networks after the settings. Blocking.

    Raises:
        InvalidArgument: bad `bip` or `fixed-cidr`.
        Conflict: no address range is left for the bridge.
    """
    for name, driver in (("host", "host"), ("none", "null")):
        if registry.by_name(name) is None:
            network_id = _stable_id(settings.instance, name)
            created = rfc3339(time.time_ns())
            registry.add(Network(id=network_id, name=name, driver=driver, created=created, predefined=True))
    known = registry.by_name("bridge")
    subnet = _bridge_subnet(registry, links, settings, known)
    bridge = Network(
        id=known.id if known else _stable_id(settings.instance, "bridge"),
        name="bridge",
        driver="bridge",
        created=known.created if known else rfc3339(time.time_ns()),
        subnets=[subnet],
        options={
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": str(settings.icc).lower(),
            "com.docker.network.bridge.enable_ip_masquerade": str(settings.enable_nat).lower(),
            "com.docker.network.bridge.host_binding_ipv4": settings.publish_ip,
            "com.docker.network.bridge.name": settings.bridge_name,
            "com.docker.network.driver.mtu": str(settings.mtu),
        },
        bridge=settings.bridge_name,
        mtu=settings.mtu,
        predefined=True,
    )
    if known is None or known != bridge:
        registry.add(bridge)
        registry.reclaim(bridge.id)


def _stable_id(instance: str, name: str) -> str:
    return hashlib.sha256(f"{instance}/{name}".encode()).hexdigest()


def _bridge_subnet(registry: Registry, links: Links, settings: NetworkSettings, known: Network | None) -> Subnet:
    if settings.bip:
        try:
            address = ip_interface(settings.bip)
        except ValueError:
            raise InvalidArgument(f"invalid --bip: {settings.bip}: invalid CIDR address") from None
        return complete(Subnet(str(address.network), str(address.ip), settings.fixed_cidr))
    taken = occupied(registry, links, settings)
    if known is not None and known.subnets:
        before = known.subnets[0]
        if not any(overlap(before.network, other) for other in taken):
            return Subnet(before.subnet, settings.default_gateway or before.gateway, settings.fixed_cidr)
    if settings.fixed_cidr:
        return complete(Subnet(str(ip_network(settings.fixed_cidr, strict=False)), settings.default_gateway))
    pools = settings.default_address_pools or DEFAULT_POOLS
    return complete(Subnet(str(choose_subnet(pools, taken)), settings.default_gateway))


def own_bridges(registry: Registry, settings: NetworkSettings) -> frozenset[str]:
    """The names of all bridges that are ours, made or about to be."""
    return frozenset(network.bridge for network in registry.networks() if network.bridge) | {settings.bridge_name}


def occupied(registry: Registry, links: Links, settings: NetworkSettings) -> list[IPNetwork]:
    """Subnets of the host and of our networks other than the default one. Blocking."""
    own = own_bridges(registry, settings)
    ours = [subnet.network for each in registry.networks() if not each.predefined for subnet in each.subnets]
    return [*links.occupied(own), *ours]

"""Use cases of networks: what the API's endpoints do, in terms of the network room and the containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sampan.engine.config import EngineConfig
from sampan.errors import InvalidArgument, SampanError
from sampan.network import model
from sampan.network.controller import Network, NetworkSettings
from sampan.spec.filters import Filters, check_known, labels_match, until_ns
from sampan.types.times import parse_rfc3339_ns

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})


def network_settings(config: EngineConfig) -> NetworkSettings:
    """The network room's part of the engine's configuration."""
    return NetworkSettings(
        instance=config.instance,
        bridge_name=config.bridge_name,
        table_name=config.table_name,
        bip=config.bip,
        fixed_cidr=config.fixed_cidr,
        default_gateway=config.default_gateway,
        default_address_pools=tuple(model.AddressPool(pool.base, pool.size) for pool in config.default_address_pools),
        mtu=config.mtu,
        icc=config.icc,
        ip_forward=config.ip_forward,
        enable_nat=config.ip_masq,
        enable_firewall=config.firewall,
        publish_ip=config.ip,
        ipv6=config.ipv6,
        fixed_cidr_v6=config.fixed_cidr_v6,
        dns=tuple(config.dns),
        dns_options=tuple(config.dns_opts),
        dns_search=tuple(config.dns_search),
        host_gateway_ip=config.host_gateway_ip,
    )


def describe(engine: Engine, network: Network, *, containers: bool = False) -> dict[str, Any]:
    """Docker's JSON of a network; `containers` fills in who is in it (inspect does, list does not)."""
    inside: dict[str, Any] = {}
    if containers:
        for endpoint in engine.networks.endpoints(network.id):
            if endpoint.interface:
                inside[endpoint.container_id] = {
                    "Name": endpoint.container_name,
                    "EndpointID": endpoint.endpoint_id,
                    "MacAddress": endpoint.mac,
                    "IPv4Address": f"{endpoint.ipv4}/{endpoint.prefix}" if endpoint.ipv4 else "",
                    "IPv6Address": f"{endpoint.ipv6}/{endpoint.ipv6_prefix}" if endpoint.ipv6 else "",
                }
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.enable_ipv4,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": network.ipam_options,
            "Config": [subnet.to_docker() for subnet in network.subnets] or None
            if network.driver != "bridge"
            else [subnet.to_docker() for subnet in network.subnets],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": inside,
        "Options": network.options,
        "Labels": network.labels,
    }


def listed(engine: Engine, filters: Filters) -> list[Network]:
    """The networks that pass all filters.

    Raises:
        InvalidArgument: a filter that Docker does not know, or a bad value.
    """
    check_known(filters, _LIST_FILTERS)
    return [network for network in engine.networks.list() if _passes(engine, network, filters)]


def _passes(engine: Engine, network: Network, filters: Filters) -> bool:
    for kind in filters.get("type", []):
        if kind not in ("custom", "builtin"):
            raise InvalidArgument(f"invalid filter: 'type'='{kind}'")
    tests: dict[str, Callable[[str], bool]] = {
        "driver": lambda value: network.driver == value,
        "id": lambda value: value in network.id,
        "name": lambda value: value in network.name,
        "scope": lambda value: value == "local",
        "type": lambda value: (value == "builtin") == network.predefined,
        "dangling": lambda value: _is_dangling(engine, network) == (value.lower() in ("1", "t", "true")),
    }
    for name, values in filters.items():
        if name in tests and values and not any(tests[name](value) for value in values):
            return False
    return labels_match(network.labels, filters)


def _is_dangling(engine: Engine, network: Network) -> bool:
    return not network.predefined and not engine.networks.endpoints(network.id)


async def prune(engine: Engine, filters: Filters) -> list[str]:
    """Remove the user-defined networks that nobody is in; gives their names."""
    check_known(filters, _PRUNE_FILTERS)
    limit_ns = until_ns(filters)
    deleted: list[str] = []
    for network in engine.networks.list():
        if not _is_dangling(engine, network) or not labels_match(network.labels, filters):
            continue
        if limit_ns is not None and parse_rfc3339_ns(network.created) >= limit_ns:
            continue
        try:
            await engine.networks.remove(network.id)
        except SampanError:
            continue  # somebody joined it meanwhile
        deleted.append(network.name)
    return deleted

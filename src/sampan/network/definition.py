"""From the body of `POST /networks/create` to a `Network`: checks in Docker's words, defaults, a free subnet."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sampan.errors import Conflict, Forbidden, InvalidArgument, NotFound
from sampan.network import predefined
from sampan.network.ipam import DEFAULT_POOLS, choose_subnet, complete, overlap
from sampan.network.model import IPNetwork, Network, NetworkSettings, Subnet
from sampan.network.registry import Registry
from sampan.types.times import rfc3339

_INTERFACE_NAME = re.compile(r"[^\s/:]{1,15}")
_MTU = "com.docker.network.driver.mtu"
_BRIDGE_NAME = "com.docker.network.bridge.name"


def define(
    body: Mapping[str, Any], registry: Registry, host: Sequence[IPNetwork], settings: NetworkSettings
) -> Network:
    """The network that a request describes; nothing is made yet. `host` are the subnets that the host itself uses.

    Raises:
        InvalidArgument: bad name, subnet, option.
        Forbidden: a predefined name or driver, or an overlap with another network.
        Conflict: the name exists, or no subnet is free.
        NotFound: no such driver.
    """
    name, driver = str(body.get("Name") or ""), str(body.get("Driver") or "bridge")
    _check_names(name, driver, registry)
    network_id = secrets.token_hex(32)
    options = {str(key): str(value) for key, value in (body.get("Options") or {}).items()}
    ipam = body.get("IPAM") or {}
    enable_ipv6 = bool(body.get("EnableIPv6") or False)
    network = Network(
        id=network_id,
        name=name,
        driver=driver,
        created=rfc3339(time.time_ns()),
        internal=bool(body.get("Internal")),
        attachable=bool(body.get("Attachable")),
        enable_ipv4=body.get("EnableIPv4") is not False,
        enable_ipv6=enable_ipv6,
        options=options,
        labels={str(key): str(value) for key, value in (body.get("Labels") or {}).items()},
        ipam_driver=str(ipam.get("Driver") or "default"),
        ipam_options=ipam.get("Options"),
        bridge=_bridge_name(options, network_id, registry),
        mtu=_mtu(options, settings.mtu),
    )
    network.subnets = _subnets(network, ipam.get("Config") or [], registry, host, settings)
    return network


def _check_names(name: str, driver: str, registry: Registry) -> None:
    if not name.strip():
        raise InvalidArgument("invalid network name: name is empty")
    if driver in ("host", "null", "none"):
        raise Forbidden(f'only one instance of "{"host" if driver == "host" else "null"}" network is allowed')
    if name in (*predefined.NAMES, "default"):
        raise Forbidden(f"operation is not permitted on predefined {name} network ")
    if driver != "bridge":
        raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')
    if registry.by_name(name) is not None:
        raise Conflict(f"network with name {name} already exists")


def _bridge_name(options: Mapping[str, str], network_id: str, registry: Registry) -> str:
    name = options.get(_BRIDGE_NAME, "")
    if not name:
        return "br-" + network_id[:12]
    if not _INTERFACE_NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidArgument(f"invalid bridge name: {name}")
    for other in registry.networks():
        if other.bridge == name:
            raise Forbidden(
                f"cannot create network {network_id} ({name}): conflicts with network {other.id} ({other.bridge}): "
                "networks have same bridge name"
            )
    return name


def _mtu(options: Mapping[str, str], default: int) -> int:
    text = options.get(_MTU, "")
    if not text:
        return default
    if not text.isdigit() or not 68 <= int(text) <= 65535:
        raise InvalidArgument(f"invalid value for {_MTU}: {text}")
    return int(text)


def _subnets(
    network: Network,
    given: list[dict[str, Any]],
    registry: Registry,
    host: Sequence[IPNetwork],
    settings: NetworkSettings,
) -> list[Subnet]:
    # Without EnableIPv6 Docker neither checks nor takes an IPv6 subnet.
    chosen = [
        complete(
            Subnet(
                str(each["Subnet"]),
                str(each.get("Gateway") or ""),
                str(each.get("IPRange") or ""),
                {str(key): str(value) for key, value in (each.get("AuxiliaryAddresses") or {}).items()},
            )
        )
        for each in given
        if each and each.get("Subnet") and (network.enable_ipv6 or ":" not in str(each["Subnet"]))
    ]
    for entry in given:
        if entry and not entry.get("Subnet") and (entry.get("Gateway") or entry.get("IPRange")):
            raise InvalidArgument("invalid network config:\nsubnet must be specified")
    ours = [subnet.network for each in registry.networks() for subnet in each.subnets]
    for number, subnet in enumerate(chosen):
        others = [*ours, *(each.network for each in chosen[:number])]
        if any(overlap(subnet.network, other) for other in others):
            raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
    versions = {subnet.network.version for subnet in chosen}
    if network.enable_ipv4 and 4 not in versions:
        pools = settings.default_address_pools or DEFAULT_POOLS
        taken = [*host, *ours, *(each.network for each in chosen)]
        chosen.insert(0, complete(Subnet(str(choose_subnet(pools, taken)))))
    if network.enable_ipv6 and 6 not in versions:
        chosen.append(complete(Subnet(_unique_local(settings.instance, network.id))))
    return chosen


def _unique_local(instance: str, network_id: str) -> str:
    """A /64 under a unique local /48 (RFC 4193) of this engine's own."""
    base = hashlib.sha256(instance.encode()).hexdigest()[:10]
    return f"fd{base[:2]}:{base[2:6]}:{base[6:10]}:{network_id[:4]}::/64"

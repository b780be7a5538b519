"""Networks and endpoints as this room keeps them, and their form in Docker's JSON."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import msgspec

IPNetwork = IPv4Network | IPv6Network
IPAddress = IPv4Address | IPv6Address


class AddressPool(msgspec.Struct, frozen=True):
    """`base` is cut into subnets with a prefix of `size` bits."""

    base: str
    size: int


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine's configuration says about networks.

    `instance` marks everything that is made on the host, so that several engines run side by side.
    """

    instance: str
    bridge_name: str
    table_name: str
    bip: str = ""
    fixed_cidr: str = ""
    default_gateway: str = ""
    default_address_pools: tuple[AddressPool, ...] = ()
    mtu: int = 1500
    icc: bool = True
    ip_forward: bool = True
    enable_nat: bool = True
    enable_firewall: bool = True
    publish_ip: str = "0.0.0.0"
    ipv6: bool = False
    fixed_cidr_v6: str = ""
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    host_gateway_ip: str = ""


class Subnet(msgspec.Struct, frozen=True):
    """One address range of a network. Empty strings stand for "not given"."""

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    auxiliary: dict[str, str] = {}

    @property
    def network(self) -> IPNetwork:
        return ip_network(self.subnet)

    def to_docker(self) -> dict[str, Any]:
        found: dict[str, Any] = {"Subnet": self.subnet}
        if self.ip_range:
            found["IPRange"] = self.ip_range
        if self.gateway:
            found["Gateway"] = self.gateway
        if self.auxiliary:
            found["AuxiliaryAddresses"] = self.auxiliary
        return found


class Network(msgspec.Struct, kw_only=True):
    """A network. Saved as JSON; `driver` is bridge, host or null."""

    id: str
    name: str
    driver: str
    created: str
    subnets: list[Subnet] = []
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    bridge: str = ""
    mtu: int = 1500
    predefined: bool = False

    def subnet(self, version: int) -> Subnet | None:
        return next((subnet for subnet in self.subnets if subnet.network.version == version), None)

    @property
    def masquerade(self) -> bool:
        return not self.internal and _switch(self.options, "com.docker.network.bridge.enable_ip_masquerade", True)

    @property
    def icc(self) -> bool:
        return _switch(self.options, "com.docker.network.bridge.enable_icc", True)

    @property
    def host_ip(self) -> str:
        """Where ports are published that name no address; empty for the engine's own default."""
        return self.options.get("com.docker.network.bridge.host_binding_ipv4", "")

    @property
    def has_resolver(self) -> bool:
        """Whether containers find each other by name here: in all but the default network."""
        return self.driver == "bridge" and not self.predefined


def _switch(options: dict[str, str], name: str, default: bool) -> bool:
    value = options.get(name, "")
    return default if value == "" else value.lower() in ("1", "t", "true")


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One port of the host that leads to a container. `container_ip` is empty where only the forwarder can translate:
    from an IPv6 address of the host to a container without IPv6."""

    protocol: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int

    @property
    def version(self) -> int:
        return 6 if ":" in self.host_ip else 4


class Endpoint(msgspec.Struct, kw_only=True):
    """A container's place in a network. Addresses are text without a prefix; empty if there is none.

    `host_veth` and `interface` are empty while it is only reserved.
    """

    endpoint_id: str
    network_id: str
    network_name: str
    container_id: str
    mac: str = ""
    ipv4: str = ""
    prefix: int = 0
    gateway: str = ""
    ipv6: str = ""
    ipv6_prefix: int = 0
    ipv6_gateway: str = ""
    host_veth: str = ""
    interface: str = ""
    names: list[str] = []
    container_name: str = ""
    gateway_priority: int = 0
    config: dict[str, Any] = {}
    publications: list[Publication] = []

    @property
    def link_local(self) -> list[str]:
        """Further addresses of 169.254.0.0/16 that the request gave."""
        return list((self.config.get("IPAMConfig") or {}).get("LinkLocalIPs") or ())

    def to_docker(self) -> dict[str, Any]:
        """An entry of a container's `NetworkSettings.Networks`."""
        return {
            "IPAMConfig": self.config.get("IPAMConfig"),
            "Links": self.config.get("Links"),
            "Aliases": self.config.get("Aliases"),
            "MacAddress": self.mac,
            "DriverOpts": self.config.get("DriverOpts"),
            "GwPriority": self.gateway_priority,
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "Gateway": self.gateway,
            "IPAddress": self.ipv4,
            "IPPrefixLen": self.prefix,
            "IPv6Gateway": self.ipv6_gateway,
            "GlobalIPv6Address": self.ipv6,
            "GlobalIPv6PrefixLen": self.ipv6_prefix,
            "DNSNames": self.names or None,
        }

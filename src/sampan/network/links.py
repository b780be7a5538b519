"""What the room does to interfaces: bridges on the host, veth pairs into sandboxes. Blocking; runs in one thread."""

from __future__ import annotations

import errno
import hashlib
from ipaddress import ip_address, ip_interface
from typing import NamedTuple

from sampan.errors import Internal
from sampan.linux.netlink import netns, rtnetlink
from sampan.linux.netlink.channel import Channel, NetlinkError
from sampan.network.model import Endpoint, IPNetwork, Network
from sampan.network.sandbox import Sandbox

_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})


class HostAddress(NamedTuple):
    ifindex: int
    address: rtnetlink.IPInterface


def veth_prefix(instance: str) -> str:
    """The beginning of the names of all host ends that belong to one engine."""
    return "v" + hashlib.sha256(instance.encode()).hexdigest()[:5]


class Links:
    """All rtnetlink work on the host. Not thread-safe."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._prefix = veth_prefix(instance)
        self._channel = Channel()
        self._bridges: dict[str, int] = {}

    def close(self) -> None:
        self._channel.close()

    def find(self, name: str) -> rtnetlink.Link | None:
        """The host's interface of that name."""
        try:
            kind, _, body = rtnetlink.get_link(name)
            return rtnetlink.parse_link(self._channel.get(kind, body))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def all(self) -> list[rtnetlink.Link]:
        kind, _, body = rtnetlink.list_links()
        return [rtnetlink.parse_link(payload) for payload in self._channel.dump(kind, body)]

    def addresses(self) -> list[HostAddress]:
        """All addresses of the host."""
        kind, _, body = rtnetlink.list_addresses()
        found = (rtnetlink.parse_address(payload) for payload in self._channel.dump(kind, body))
        return [HostAddress(*pair) for pair in found if pair is not None]

    def occupied(self, except_bridges: frozenset[str] = frozenset()) -> list[IPNetwork]:
        """The subnets that the host's routes and addresses cover, but for those of the named bridges."""
        own = {link.ifindex for link in self.all() if link.name in except_bridges}
        found: list[IPNetwork] = [each.address.network for each in self.addresses() if each.ifindex not in own]
        for family in (2, 10):
            kind, _, body = rtnetlink.list_routes(family)
            for payload in self._channel.dump(kind, body):
                route = rtnetlink.parse_route(payload)
                if route and route[1] not in own:
                    found.append(route[0].network)
        return [network for network in found if not network.is_loopback and not network.is_link_local]

    def ensure_bridge(self, network: Network) -> None:
        """The network's bridge, up, with the gateways' addresses and no other ones.

        Raises:
            Internal: an interface of that name exists and is no bridge, or the kernel refused.
        """
        link = self.find(network.bridge)
        if link is not None and link.kind != "bridge":
            raise Internal(f"cannot use {network.bridge} for network {network.name}: it exists and is not a bridge")
        if link is None:
            mac = "02:42:" + hashlib.sha256(network.id.encode()).digest()[:4].hex(":")
            owned = rtnetlink.set_alias(network.bridge, self._instance)  # for `own_bridges` of a later life
            self._channel.batch([rtnetlink.new_bridge(network.bridge, network.mtu, mac), owned])
            link = self.find(network.bridge)
            assert link is not None
        for name, value in self._bridge_sysctls(network):
            netns.write_sysctl(name, value)
        wanted = {
            ip_interface(f"{subnet.gateway}/{subnet.network.prefixlen}") for subnet in network.subnets if subnet.gateway
        }
        present = {each.address for each in self.addresses() if each.ifindex == link.ifindex}
        stale = {address for address in present - wanted if not address.ip.is_link_local}
        self._channel.batch([rtnetlink.delete_address(link.ifindex, address) for address in stale], ignore=_GONE)
        self._channel.batch(
            [
                rtnetlink.set_link_up(link.ifindex, link_local=False),
                *(rtnetlink.new_address(link.ifindex, address) for address in wanted - present),
            ],
            ignore=frozenset({errno.EEXIST, errno.EAFNOSUPPORT, errno.EOPNOTSUPP}),
        )
        self._bridges[network.bridge] = link.ifindex

    @staticmethod
    def _bridge_sysctls(network: Network) -> list[tuple[str, str]]:
        # route_localnet: published ports answer on 127.0.0.1; the firewall drops what others send to 127.0.0.0/8.
        found = [(f"net/ipv4/conf/{network.bridge}/route_localnet", "1")]
        if network.enable_ipv6:
            found += [
                (f"net/ipv6/conf/{network.bridge}/disable_ipv6", "0"),
                (f"net/ipv6/conf/{network.bridge}/accept_ra", "0"),
            ]
        return found

    def delete(self, name: str) -> None:
        """Delete an interface if it is there. A veth costs some 30 ms, in which the kernel waits for readers."""
        self._bridges.pop(name, None)
        self._channel.batch([rtnetlink.delete_link(name)], ignore=_GONE)

    def host_veth_name(self, endpoint_id: str) -> str:
        return self._prefix + endpoint_id[:8]

    def own_veths(self) -> list[str]:
        """The host ends of all veths that this engine has made."""
        return [link.name for link in self.all() if link.name.startswith(self._prefix) and link.kind == "veth"]

    def own_bridges(self) -> list[str]:
        """All bridges that this engine has made, in this life or an earlier one."""
        return [link.name for link in self.all() if link.alias == self._instance and link.kind == "bridge"]

    def attach(self, network: Network, endpoint: Endpoint, sandbox: Sandbox, interface: str) -> None:
        """Give the sandbox an interface in the network, with its addresses, up. On failure nothing is left.

        Raises:
            NetlinkError: the kernel refused.
        """
        name = self.host_veth_name(endpoint.endpoint_id)
        master = self._bridges.get(network.bridge, 0)
        pair = [
            rtnetlink.new_veth(name, master, network.mtu, interface, endpoint.mac, sandbox.fd),
            rtnetlink.set_link_up(name, link_local=False),
        ]
        try:
            self._channel.batch(pair)
            if endpoint.ipv6:
                enable = f"net/ipv6/conf/{interface}/disable_ipv6"
                netns.within(sandbox.fd, lambda: netns.write_sysctl(enable, "0"))
            index = self._index_in(sandbox, interface)
            requests = [rtnetlink.set_link_up(index)]
            if endpoint.ipv4:
                requests.append(rtnetlink.new_address(index, ip_interface(f"{endpoint.ipv4}/{endpoint.prefix}")))
            if endpoint.ipv6:
                requests.append(rtnetlink.new_address(index, ip_interface(f"{endpoint.ipv6}/{endpoint.ipv6_prefix}")))
            requests += [rtnetlink.new_address(index, ip_interface(f"{each}/16")) for each in endpoint.link_local]
            sandbox.channel.batch(requests)
        except OSError:
            self._channel.batch([rtnetlink.delete_link(name)], ignore=_GONE)
            raise

    @staticmethod
    def _index_in(sandbox: Sandbox, interface: str) -> int:
        kind, _, body = rtnetlink.get_link(interface)
        return rtnetlink.parse_link(sandbox.channel.get(kind, body)).ifindex

    def set_gateway(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        """Make an attached endpoint the sandbox's way to everywhere else, in place of another."""
        index = self._index_in(sandbox, endpoint.interface)
        gateways = [ip_address(text) for text in (endpoint.gateway, endpoint.ipv6_gateway) if text]
        sandbox.channel.batch([rtnetlink.new_default_route(index, gateway) for gateway in gateways])

    def set_hairpin(self, host_veth: str) -> None:
        self._channel.batch([rtnetlink.set_hairpin(host_veth)], ignore=_GONE)

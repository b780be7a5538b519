"""Address management: which subnet a network gets, and which address an endpoint gets. Pure, in memory.

Leases live with their endpoints in the database; `Leases` is rebuilt from them on start, so that an address is never
handed out twice, nor while still in use after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, ip_address, ip_network

from sampan.errors import Conflict, Forbidden, InvalidArgument
from sampan.network.model import AddressPool, IPAddress, IPNetwork, Subnet

# Docker's own defaults: 172.17 to 172.31 as /16, then 192.168 in pieces of /20.
DEFAULT_POOLS = (
    *(AddressPool(f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    AddressPool("192.168.0.0/16", 20),
)


def choose_subnet(pools: Iterable[AddressPool], taken: Iterable[IPNetwork]) -> IPNetwork:
    """The first subnet of the pools that overlaps nothing in `taken`.

    Raises:
        Conflict: the pools are used up.
    """
    used = list(taken)
    for pool in pools:
        base = ip_network(pool.base, strict=False)
        for candidate in base.subnets(new_prefix=pool.size):
            if not any(overlap(candidate, other) for other in used):
                return candidate
    raise Conflict(
        "all predefined address pools have been fully subnetted",
        hint="remove unused networks (`sampan network prune`) or give the network a --subnet",
    )


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)


def complete(subnet: Subnet, *, gateway: bool = True) -> Subnet:
    """The subnet as the user gave it, checked and with the default gateway (the first address) filled in.

    Raises:
        InvalidArgument: not a subnet, or an address outside it.
    """
    try:
        network = ip_network(subnet.subnet, strict=False)
    except ValueError:
        raise InvalidArgument(
            f"invalid network config:\ninvalid subnet {subnet.subnet}: invalid CIDR block notation"
        ) from None
    if str(network) != subnet.subnet and network.network_address != ip_address(subnet.subnet.partition("/")[0]):
        raise InvalidArgument(f"invalid network config:\ninvalid subnet {subnet.subnet}: it should be {network}")
    chosen = subnet.gateway
    if subnet.ip_range:
        _check_range(subnet.ip_range, network)
    if chosen:
        _check_inside(chosen, network, "gateway")
    elif gateway:
        start = ip_network(subnet.ip_range, strict=False) if subnet.ip_range else network
        chosen = str(start.network_address + (1 if start.num_addresses > 1 else 0))
    for address in subnet.auxiliary.values():
        _check_inside(address, network, "auxiliary address")
    return Subnet(str(network), chosen, subnet.ip_range, subnet.auxiliary)


def _check_range(text: str, network: IPNetwork) -> None:
    try:
        inner = ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(
            f"invalid network config:\ninvalid ip-range {text}: invalid CIDR block notation"
        ) from None
    if inner.version != network.version or not (overlap(inner, network) and inner.prefixlen >= network.prefixlen):
        raise InvalidArgument(f"invalid network config:\ninvalid ip-range {text}: it is not contained in {network}")


def _check_inside(text: str, network: IPNetwork, what: str) -> None:
    try:
        inside = ip_address(text) in network
    except ValueError:
        raise InvalidArgument(f"invalid network config:\ninvalid {what} {text}: invalid address") from None
    if not inside:
        raise InvalidArgument(f"invalid network config:\ninvalid {what} {text}: parent subnet is {network}")


class Leases:
    """The addresses of one subnet. The search goes on behind the newest lease, so that a freed address rests as long as
    possible before somebody else gets it."""

    def __init__(self, subnet: Subnet) -> None:
        self._network = subnet.network
        within = ip_network(subnet.ip_range, strict=False) if subnet.ip_range else self._network
        self._low = int(within.network_address)
        self._high = int(within.broadcast_address)
        self._taken: set[int] = {int(ip_address(address)) for address in subnet.auxiliary.values()}
        if subnet.gateway:
            self._taken.add(int(ip_address(subnet.gateway)))
        if self._network.prefixlen < self._network.max_prefixlen - 1:
            self._taken.add(int(self._network.network_address))
            if isinstance(self._network, IPv4Network):
                self._taken.add(int(self._network.broadcast_address))
        self._next = self._low

    def __contains__(self, address: IPAddress) -> bool:
        return address in self._network

    def take(self) -> IPAddress:
        """A free address.

        Raises:
            Conflict: none is left.
        """
        size = self._high - self._low + 1
        for step in range(min(size, len(self._taken) + 1)):
            number = self._low + (self._next - self._low + step) % size
            if number not in self._taken:
                return self._lease(number)
        raise Conflict("no available IPv4 addresses on this network's address pools")

    def claim(self, text: str) -> IPAddress:
        """Exactly this address.

        Raises:
            InvalidArgument: malformed or outside of the subnet.
            Forbidden: somebody has it.
        """
        try:
            address = ip_address(text)
        except ValueError:
            raise InvalidArgument(f"invalid IP address: {text}") from None
        if address not in self._network:
            raise InvalidArgument("invalid endpoint settings:\nno configured subnet contains IP address " + text)
        if int(address) in self._taken:
            raise Forbidden("Address already in use")
        self._taken.add(int(address))
        return address

    def _lease(self, number: int) -> IPAddress:
        self._taken.add(number)
        self._next = number + 1
        return self._network.network_address + (number - int(self._network.network_address))

    def release(self, text: str) -> None:
        self._taken.discard(int(ip_address(text)))

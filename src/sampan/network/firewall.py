"""The engine's nftables table: translation for the outside, published ports, isolation.

    raw         what a container sends to the host's 127.0.0.0/8 is dropped (route_localnet is on for the bridges)
    prerouting, output → published
                a connection to one of the host's addresses goes to the container that publishes the port: two maps,
                one of ports on every address, one of ports on a certain address
    postrouting masquerade to the outside; and of what must come back by the way it went: connections from the host's
                loopback, and from a neighbour on the same bridge
    forward     established; published; the same bridge unless icc is off; nothing else enters a bridge of ours, and
                nothing leaves an internal one

Publishing a port is one element. Rules that depend on the networks are few and rewritten in one transaction. Chains, sets
and rules of others are never touched; a packet that others drop stays dropped (see `foreign`).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from sampan.linux.netlink.channel import Channel, NetlinkError
from sampan.linux.nft import expressions as ex
from sampan.linux.nft import requests as nft
from sampan.linux.nft.requests import Element, Transaction
from sampan.network.model import Network, Publication

_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_ANY = "published_any"
_BY_ADDRESS = "published_address"
_BRIDGES = "bridges"
_FAMILIES = {4: nft.FAMILY_IPV4, 6: nft.FAMILY_IPV6}
_REG = ex.REGISTER


class Firewall:
    """One table per IP version. Blocking (a transaction is 0.1 to 1 ms); not thread-safe."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.relay_ports: tuple[int, int] | None = None  # where TCP and DNS go while others drop what is forwarded
        self._channel: Channel = nft.open_channel()

    def close(self) -> None:
        """Stop talking to the kernel; the table stays."""
        self._channel.close()

    def reset(self, networks: Iterable[Network], publications: Iterable[Publication]) -> None:
        """Write the tables anew, in place of whatever stood in them, without a moment in between.

        Raises:
            NetlinkError: refused (no nf_tables in this kernel, no privilege); nothing has changed.
        """
        known = list(networks)
        published = list(publications)
        for version in (4, 6):
            transaction = Transaction(_FAMILIES[version], self._table)
            transaction.add_table()
            transaction.delete_table()
            transaction.add_table()
            _write_static(transaction, version, self.relay_ports)
            _write_networks(transaction, version, known)
            _add(transaction, [each for each in published if each.version == version])
            try:
                transaction.commit(self._channel)
            except NetlinkError as error:
                if version == 6 and error.errno in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENOENT):
                    return  # a kernel without IPv6, or without its part of nf_tables
                raise

    def update_networks(self, networks: Iterable[Network]) -> None:
        """Bring the networks' rules up to date; published ports are not concerned."""
        known = list(networks)
        for version in (4, 6) if any(network.enable_ipv6 for network in known) else (4,):
            transaction = Transaction(_FAMILIES[version], self._table)
            for chain in ("forward", "postrouting"):
                transaction.flush_chain(chain)
            transaction.flush_set(_BRIDGES)
            _write_networks(transaction, version, known)
            transaction.commit(self._channel)

    def publish(self, publications: Iterable[Publication]) -> None:
        for family, each in _by_family(publications):
            transaction = Transaction(family, self._table)
            _add(transaction, each)
            transaction.commit(self._channel)

    def unpublish(self, publications: Iterable[Publication]) -> None:
        """Take them away; those that are not there count as done."""
        for family, each in _by_family(publications):
            transaction = Transaction(family, self._table)
            for name, elements in _elements(each).items():
                transaction.delete_elements(name, elements)
            try:
                transaction.commit(self._channel)
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise

    def remove(self) -> None:
        """Delete the tables."""
        for family in _FAMILIES.values():
            transaction = Transaction(family, self._table)
            transaction.add_table()
            transaction.delete_table()
            try:
                transaction.commit(self._channel)
            except NetlinkError:
                continue

    def exists(self) -> bool:
        return self._table in nft.tables(self._channel, nft.FAMILY_IPV4)


def _by_family(publications: Iterable[Publication]) -> list[tuple[int, list[Publication]]]:
    found = list(publications)
    split = ((family, [each for each in found if each.version == version]) for version, family in _FAMILIES.items())
    return [(family, each) for family, each in split if each]


def _add(transaction: Transaction, publications: list[Publication]) -> None:
    for name, elements in _elements(publications).items():
        transaction.add_elements(name, elements)


def _elements(publications: Iterable[Publication]) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    for each in publications:
        if not each.container_ip:
            continue
        port = struct.pack(">B3xHxx", _PROTOCOLS[each.protocol], each.host_port)
        target = ip_address(each.container_ip).packed + struct.pack(">Hxx", each.container_port)
        if ip_address(each.host_ip).is_unspecified:
            found.setdefault(_ANY, []).append(Element(port, target))
        else:
            found.setdefault(_BY_ADDRESS, []).append(Element(ip_address(each.host_ip).packed + port, target))
    return found


def _write_published(transaction: Transaction, version: int) -> None:
    """The maps of published ports, and the chain that looks a connection up in them."""
    address, size = (nft.TYPE_IPV4, 4) if version == 4 else (nft.TYPE_IPV6, 16)
    target = nft.concatenated(address, nft.TYPE_PORT)
    ports = (nft.TYPE_PROTOCOL, nft.TYPE_PORT)
    transaction.add_map(_ANY, nft.concatenated(*ports), 8, target, size + 4)
    transaction.add_map(_BY_ADDRESS, nft.concatenated(address, *ports), size + 8, target, size + 4)
    transaction.add_set(_BRIDGES, nft.TYPE_INTERFACE, 16)
    transaction.add_chain("published")
    after = size // 4
    transaction.add_rule(
        "published",
        ex.load_destination(version, _REG),
        ex.load_l4proto(_REG + after),
        ex.load_destination_port(_REG + after + 1),
        ex.lookup_map(_BY_ADDRESS),
        ex.destination_nat(version, _REG, _REG + after),
    )
    transaction.add_rule(
        "published",
        ex.load_l4proto(_REG),
        ex.load_destination_port(_REG + 1),
        ex.lookup_map(_ANY),
        ex.destination_nat(version, _REG, _REG + after),
    )


def _write_static(transaction: Transaction, version: int, relay_ports: tuple[int, int] | None) -> None:
    _write_published(transaction, version)
    published = (ex.match_destination_local(), ex.verdict(ex.JUMP, "published"))
    transaction.add_base_chain("output", "nat", nft.OUTPUT, nft.PRIORITY_DSTNAT)
    if version == 6:
        # IPv6 has no route_localnet: what goes to ::1 is carried by the sockets that reserve the ports.
        loopback = ex.match_destination_in(6, ip_address("::1").packed, b"\xff" * 16)
        transaction.add_rule("output", loopback, ex.verdict(ex.RETURN))
    transaction.add_rule("output", *published)
    transaction.add_base_chain("prerouting", "nat", nft.PREROUTING, nft.PRIORITY_DSTNAT)
    if relay_ports is None or version == 6:
        transaction.add_rule("prerouting", *published)
    else:
        # Published ports are then served by the sockets that reserve them.
        away = (ex.match_input_in(_BRIDGES), ex.match_destination_local(equal=False))
        tcp, dns = (ex.match_protocol(number) for number in (socket.IPPROTO_TCP, socket.IPPROTO_UDP))
        transaction.add_rule("prerouting", *away, tcp, ex.redirect(relay_ports[0]))
        transaction.add_rule("prerouting", *away, dns, ex.match_destination_port(53), ex.redirect(relay_ports[1]))
    transaction.add_base_chain("postrouting", "nat", nft.POSTROUTING, nft.PRIORITY_SRCNAT)
    transaction.add_base_chain("forward", "filter", nft.FORWARD, nft.PRIORITY_FILTER)
    if version == 4:
        transaction.add_base_chain("raw", "filter", nft.PREROUTING, nft.PRIORITY_RAW)
        loopback = ex.match_destination_in(4, bytes([127, 0, 0, 0]), bytes([255, 0, 0, 0]))
        transaction.add_rule("raw", ex.match_input_in(_BRIDGES), loopback, ex.verdict(ex.DROP))


def _write_networks(transaction: Transaction, version: int, networks: list[Network]) -> None:
    """The set and the rules that depend on the networks, into an empty set and empty chains."""
    bridged = [network for network in networks if network.driver == "bridge" and network.subnet(version)]
    transaction.add_elements(_BRIDGES, [Element(ex.interface_bytes(network.bridge)) for network in bridged])
    for network in bridged:
        _write_translation(transaction, version, network)
    rule = transaction.add_rule
    # Internal networks first: even an established connection must not leave one.
    for network in bridged:
        if network.internal:
            rule("forward", ex.match_input(network.bridge), ex.match_output(network.bridge, equal=False), _DROP)
            rule("forward", ex.match_output(network.bridge), ex.match_input(network.bridge, equal=False), _DROP)
    rule("forward", ex.match_state(ex.CT_ESTABLISHED | ex.CT_RELATED), _ACCEPT)
    rule("forward", ex.match_output_in(_BRIDGES), ex.match_destination_translated(), _ACCEPT)
    for network in bridged:
        same = (ex.match_input(network.bridge), ex.match_output(network.bridge))
        rule("forward", *same, _ACCEPT if network.icc else _DROP)
    rule("forward", ex.match_output_in(_BRIDGES), _DROP)


def _write_translation(transaction: Transaction, version: int, network: Network) -> None:
    subnet = network.subnet(version)
    assert subnet is not None
    net = ip_network(subnet.subnet)
    inside = ex.match_source_in(version, net.network_address.packed, net.netmask.packed)
    rule = transaction.add_rule
    if network.masquerade:
        rule("postrouting", ex.match_output(network.bridge, equal=False), inside, ex.masquerade())
    # The answer to a neighbour would take the short way over the bridge and arrive from an address it never asked.
    rule("postrouting", ex.match_output(network.bridge), inside, ex.match_destination_translated(), ex.masquerade())
    if version == 4:
        loopback = ex.match_source_in(4, bytes([127, 0, 0, 0]), bytes([255, 0, 0, 0]))
        rule("postrouting", ex.match_output(network.bridge), loopback, ex.masquerade())


_ACCEPT = ex.verdict(ex.ACCEPT)
_DROP = ex.verdict(ex.DROP)

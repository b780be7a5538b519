"""Requests of rtnetlink(7), packed by hand: links, addresses, routes. Pure; `Channel.batch` sends them.

Constants are those of <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if_addr.h> and <linux/veth.h>.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import NamedTuple

from sampan.linux.netlink import message as nl

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_NET_NS_FD, _IFLA_AF_SPEC, _IFLA_LINK, _IFLA_IFALIAS = 28, 26, 5, 20
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_BRPORT_MODE = 4
_INET6_ADDR_GEN_MODE = 8
_ADDR_GEN_MODE_NONE = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE, _RTA_PREFSRC = 1, 4, 5, 6, 15, 7
_RT_TABLE_MAIN = 254
_RTPROT_BOOT = 3
_RTN_UNICAST = 1

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

Request = tuple[int, int, bytes]
IPInterface = IPv4Interface | IPv6Interface
IPAddress = IPv4Address | IPv6Address


class Link(NamedTuple):
    """An interface as the kernel lists it."""

    ifindex: int
    name: str
    master: int
    mac: str
    mtu: int
    kind: str
    up: bool
    alias: str = ""


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def new_bridge(name: str, mtu: int, mac: str) -> Request:
    """A bridge, up, without link-local IPv6 of its own making."""
    body = (
        _LINK.pack(0, 0, 0, 0, 0)
        + nl.string(_IFLA_IFNAME, name)
        + nl.u32(_IFLA_MTU, mtu)
        + nl.attribute(_IFLA_ADDRESS, mac_bytes(mac))
        + nl.nested(_IFLA_LINKINFO, nl.string(_INFO_KIND, "bridge"))
    )
    return RTM_NEWLINK, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body


def set_alias(name: str, alias: str) -> Request:
    """What `ip link` shows as alias; the kernel takes it for an existing link only."""
    return RTM_SETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + nl.string(_IFLA_IFNAME, name) + nl.string(_IFLA_IFALIAS, alias)


def new_veth(name: str, master: int, mtu: int, peer_name: str, peer_mac: str, peer_netns_fd: int) -> Request:
    """A veth pair: one end enslaved to the bridge `master` here, the other in the namespace of `peer_netns_fd`."""
    peer = (
        _LINK.pack(0, 0, 0, 0, 0)
        + nl.string(_IFLA_IFNAME, peer_name)
        + nl.u32(_IFLA_MTU, mtu)
        + nl.attribute(_IFLA_ADDRESS, mac_bytes(peer_mac))
        + nl.u32(_IFLA_NET_NS_FD, peer_netns_fd)
    )
    body = (
        _LINK.pack(0, 0, 0, 0, 0)
        + nl.string(_IFLA_IFNAME, name)
        + nl.u32(_IFLA_MTU, mtu)
        + (nl.u32(_IFLA_MASTER, master) if master else b"")
        + nl.nested(
            _IFLA_LINKINFO,
            nl.string(_INFO_KIND, "veth"),
            nl.nested(_INFO_DATA, nl.attribute(_VETH_INFO_PEER | nl.NLA_F_NESTED, peer)),
        )
    )
    return RTM_NEWLINK, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body


def set_link_up(link: int | str, *, link_local: bool = True) -> Request:
    """Bring a link up, by index or name; with `link_local` false it gets no automatic IPv6 address."""
    index = link if isinstance(link, int) else 0
    body = _LINK.pack(0, 0, index, IFF_UP, IFF_UP)
    if isinstance(link, str):
        body += nl.string(_IFLA_IFNAME, link)
    if not link_local:
        inet6 = nl.nested(socket.AF_INET6, nl.u8(_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE))
        body += nl.nested(_IFLA_AF_SPEC, inet6)
    return RTM_SETLINK, 0, body


def set_hairpin(name: str) -> Request:
    """Let a bridge port send a frame back where it came from: a container that connects to its own published port."""
    body = (
        _LINK.pack(0, 0, 0, 0, 0)
        + nl.string(_IFLA_IFNAME, name)
        + nl.nested(
            _IFLA_LINKINFO,
            nl.string(_INFO_SLAVE_KIND, "bridge"),
            nl.nested(_INFO_SLAVE_DATA, nl.u8(_BRPORT_MODE, 1)),
        )
    )
    return RTM_NEWLINK, 0, body


def delete_link(link: int | str) -> Request:
    if isinstance(link, int):
        return RTM_DELLINK, 0, _LINK.pack(0, 0, link, 0, 0)
    return RTM_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + nl.string(_IFLA_IFNAME, link)


def get_link(name: str) -> Request:
    return RTM_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + nl.string(_IFLA_IFNAME, name)


def list_links() -> Request:
    return RTM_GETLINK, nl.NLM_F_DUMP, _LINK.pack(0, 0, 0, 0, 0)


def parse_link(payload: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    found = nl.attributes(payload, _LINK.size)
    info = nl.attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        ifindex=index,
        name=nl.text(found.get(_IFLA_IFNAME, b"")),
        master=struct.unpack("=I", found[_IFLA_MASTER])[0] if _IFLA_MASTER in found else 0,
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=struct.unpack("=I", found.get(_IFLA_MTU, b"\0\0\0\0"))[0],
        kind=nl.text(info.get(_INFO_KIND, b"")),
        up=bool(flags & IFF_UP),
        alias=nl.text(found.get(_IFLA_IFALIAS, b"")),
    )


def _family(address: IPAddress | IPInterface) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def new_address(index: int, address: IPInterface) -> Request:
    """Add an address; IPv4 with the subnet's broadcast address, IPv6 without duplicate address detection."""
    header = _ADDRESS.pack(_family(address), address.network.prefixlen, 0, 0, index)
    body = header + nl.attribute(_IFA_LOCAL, address.packed) + nl.attribute(_IFA_ADDRESS, address.packed)
    if address.version == 4 and address.network.prefixlen < 31:
        body += nl.attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    elif address.version == 6:
        body += nl.u32(_IFA_FLAGS, _IFA_F_NODAD)
    return RTM_NEWADDR, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body


def delete_address(index: int, address: IPInterface) -> Request:
    header = _ADDRESS.pack(_family(address), address.network.prefixlen, 0, 0, index)
    return RTM_DELADDR, 0, header + nl.attribute(_IFA_LOCAL, address.packed)


def list_addresses() -> Request:
    return RTM_GETADDR, nl.NLM_F_DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)


def parse_address(payload: bytes) -> tuple[int, IPInterface] | None:
    """(interface index, address), or None for a family that we do not know."""
    family, prefix, _, _, index = _ADDRESS.unpack_from(payload)
    found = nl.attributes(payload, _ADDRESS.size)
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if raw is None or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return index, ip_interface((raw, prefix))


def _route(family: int, dst_len: int, index: int, *attributes: bytes, scope: int = 0) -> bytes:
    header = _ROUTE.pack(family, dst_len, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    return header + b"".join(attributes) + nl.u32(_RTA_OIF, index)


def new_default_route(index: int, gateway: IPAddress, metric: int = 0) -> Request:
    body = _route(_family(gateway), 0, index, nl.attribute(_RTA_GATEWAY, gateway.packed))
    if metric:
        body += nl.u32(_RTA_PRIORITY, metric)
    return RTM_NEWROUTE, nl.NLM_F_CREATE | nl.NLM_F_REPLACE, body


def list_routes(family: int) -> Request:
    return RTM_GETROUTE, nl.NLM_F_DUMP, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)


def parse_route(payload: bytes) -> tuple[IPInterface, int] | None:
    """(destination, interface index) of a unicast route in the main table other than the default; else None."""
    _, dst_len, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(payload)
    found = nl.attributes(payload, _ROUTE.size)
    if table != _RT_TABLE_MAIN or kind != _RTN_UNICAST or _RTA_DST not in found:
        return None
    index = struct.unpack("=I", found[_RTA_OIF])[0] if _RTA_OIF in found else 0
    return ip_interface((found[_RTA_DST], dst_len)), index

"""The hand-packed messages against pyroute2, which decodes them."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from sampan.linux.netlink import message as nl
from sampan.linux.netlink import rtnetlink

ifinfmsg = pytest.importorskip("pyroute2.netlink.rtnl.ifinfmsg").ifinfmsg
ifaddrmsg = pytest.importorskip("pyroute2.netlink.rtnl.ifaddrmsg").ifaddrmsg
rtmsg = pytest.importorskip("pyroute2.netlink.rtnl.rtmsg").rtmsg


def decode(kind: type, request: rtnetlink.Request) -> object:
    number, flags, body = request
    found = kind(nl.message(number, flags, 1, body))
    found.decode()
    return found


def test_veth() -> None:
    found = decode(ifinfmsg, rtnetlink.new_veth("v1", 7, 1400, "eth0", "02:42:ac:11:00:02", 9))
    assert found.get_attr("IFLA_IFNAME") == "v1"  # type: ignore[attr-defined]
    assert found.get_attr("IFLA_MASTER") == 7  # type: ignore[attr-defined]
    info = found.get_attr("IFLA_LINKINFO")  # type: ignore[attr-defined]
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "02:42:ac:11:00:02"
    assert peer.get_attr("IFLA_MTU") == 1400
    assert peer.get_attr("IFLA_NET_NS_FD") == 9


def test_bridge_and_up() -> None:
    found = decode(ifinfmsg, rtnetlink.new_bridge("br0", 1500, "02:42:00:00:00:01"))
    assert found.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"  # type: ignore[attr-defined]
    up = decode(ifinfmsg, rtnetlink.set_link_up(5))
    assert (up["index"], up["flags"], up["change"]) == (5, 1, 1)  # type: ignore[index]


@pytest.mark.parametrize("text", ["172.17.0.2/16", "fd00::2/64"])
def test_address(text: str) -> None:
    interface = ip_interface(text)
    request = rtnetlink.new_address(3, interface)
    found = decode(ifaddrmsg, request)
    assert (found["index"], found["prefixlen"]) == (3, interface.network.prefixlen)  # type: ignore[index]
    assert found.get_attr("IFA_LOCAL") == str(interface.ip)  # type: ignore[attr-defined]
    assert rtnetlink.parse_address(request[2]) == (3, interface)


def test_default_route() -> None:
    found = decode(rtmsg, rtnetlink.new_default_route(3, ip_address("172.17.0.1")))
    assert (found["dst_len"], found["table"], found["scope"]) == (0, 254, 0)  # type: ignore[index]
    assert found.get_attr("RTA_GATEWAY") == "172.17.0.1"  # type: ignore[attr-defined]
    assert found.get_attr("RTA_OIF") == 3  # type: ignore[attr-defined]


def test_link_of_another_packer() -> None:
    message = ifinfmsg()
    message["index"], message["flags"] = 4, 1
    message["attrs"] = [
        ["IFLA_IFNAME", "x0"],
        ["IFLA_MASTER", 2],
        ["IFLA_MTU", 1500],
        ["IFLA_ADDRESS", "02:00:00:00:00:09"],
        ["IFLA_LINKINFO", {"attrs": [["IFLA_INFO_KIND", "veth"]]}],
    ]
    message.encode()
    found = rtnetlink.parse_link(bytes(message.data)[nl.HEADER_BYTES :])
    assert found == rtnetlink.Link(4, "x0", 2, "02:00:00:00:00:09", 1500, "veth", True)


def test_attributes_survive_truncation() -> None:
    body = nl.string(1, "a") + nl.u32(2, 5)
    assert nl.attributes(body) == {1: b"a\0", 2: b"\5\0\0\0"}
    for cut in range(len(body)):
        nl.attributes(body[:cut])

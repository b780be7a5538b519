"""The network room on a real kernel: namespaces, bridges, the firewall, names. Root only.

All of it happens inside a namespace of the test's own that plays the host, so that other firewalls of the machine neither
disturb nor are disturbed. `outside` is another namespace, joined to it by a veth pair.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_interface
from typing import Any

import pytest

from sampan.errors import Forbidden, Internal, NotFound
from sampan.linux.netlink import netns, rtnetlink
from sampan.linux.netlink.channel import Channel
from sampan.linux.nft import requests as nft
from sampan.network import dns
from sampan.network.controller import Networks, NetworkSettings, Sandbox
from sampan.network.sandbox import create as create_sandbox
from sampan.store.database import Database

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

HOST_ADDRESS = "198.51.100.1"
OUTSIDE_ADDRESS = "198.51.100.2"


def index_of(channel: Channel, name: str) -> int:
    kind, _, body = rtnetlink.get_link(name)
    return rtnetlink.parse_link(channel.get(kind, body)).ifindex


@pytest.fixture
def host() -> Iterator[Sandbox]:
    """The thread of the test lives in a namespace of its own for the test's length."""
    home = netns.open_current()
    sandbox = create_sandbox()
    netns.enter(sandbox.fd)
    netns.write_sysctl("net/ipv6/conf/default/disable_ipv6", "0")
    yield sandbox
    netns.enter(home)
    sandbox.close()
    os.close(home)


@pytest.fixture
def outside(host: Sandbox) -> Iterator[Sandbox]:
    other = create_sandbox()
    host.channel.batch([rtnetlink.new_veth("uplink", 0, 1500, "eth0", "02:00:00:00:00:02", other.fd)])
    for sandbox, name, address in ((host, "uplink", HOST_ADDRESS), (other, "eth0", OUTSIDE_ADDRESS)):
        index = index_of(sandbox.channel, name)
        interface = ip_interface(f"{address}/24")
        sandbox.channel.batch([rtnetlink.set_link_up(index), rtnetlink.new_address(index, interface)])
    host.channel.batch(
        [rtnetlink.new_default_route(index_of(host.channel, "uplink"), ip_interface(OUTSIDE_ADDRESS).ip)]
    )
    yield other
    other.close()


def settings(**changes: Any) -> NetworkSettings:
    values = {"instance": "nettest", "bridge_name": "nettest0", "table_name": "nettest", "bip": "172.20.0.1/24"}
    return NetworkSettings(**{**values, **changes})


@pytest.fixture
async def networks(host: Sandbox) -> AsyncIterator[Networks]:
    found = Networks(Database(":memory:"), settings())
    await found.start()
    yield found
    await found.remove_all()
    await found.close()


async def inside(sandbox: Sandbox, action: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(netns.within, sandbox.fd, action)


def bound(kind: int, port: int, host_ip: str = "0.0.0.0") -> socket.socket:
    server = socket.socket(socket.AF_INET, kind)
    server.bind((host_ip, port))
    if kind == socket.SOCK_STREAM:
        server.listen()
    return server


async def serve(sandbox: Sandbox, port: int) -> socket.socket:
    """A TCP server in the sandbox that tells each client its address."""
    server: socket.socket = await inside(sandbox, lambda: bound(socket.SOCK_STREAM, port))

    def answer() -> None:
        while True:
            try:
                connection, address = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(address[0].encode())

    threading.Thread(target=answer, daemon=True).start()
    return server


def shut(server: socket.socket) -> None:
    try:
        server.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    server.close()


def ask(address: str, port: int, source: str = "") -> str:
    """What the server at the other end says; empty if it cannot be reached."""
    try:
        origin = (source, 0) if source else None
        with socket.create_connection((address, port), timeout=0.3, source_address=origin) as connection:
            return connection.recv(100).decode()
    except OSError:
        return ""


async def container(networks: Networks, name: str, network: str = "bridge", **config: Any) -> tuple[Sandbox, Any]:
    sandbox = await networks.sandbox()
    endpoint = await networks.connect(network, name * 8, sandbox, config, [name], container_name=name)
    return sandbox, endpoint


async def settle() -> None:
    await asyncio.sleep(0.15)


async def test_default_bridge(networks: Networks) -> None:
    one, first = await container(networks, "one")
    two, second = await container(networks, "two")
    assert (first.ipv4, second.ipv4, first.gateway) == ("172.20.0.2", "172.20.0.3", "172.20.0.1")
    server = await serve(one, 80)
    assert await inside(two, lambda: ask(first.ipv4, 80)) == second.ipv4
    assert await asyncio.to_thread(ask, first.ipv4, 80) == "172.20.0.1"
    shut(server)
    one.close()
    two.close()


async def test_published_tcp_from_everywhere(networks: Networks, host: Sandbox, outside: Sandbox) -> None:
    one, endpoint = await container(networks, "one")
    two, neighbour = await container(networks, "two")
    server = await serve(one, 80)
    ports = await networks.publish("one" * 8, endpoint, {"80/tcp": [{"HostPort": "8080"}]}, ["443/tcp"])
    assert ports == {
        "443/tcp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    }
    await settle()
    assert await inside(host, lambda: ask("127.0.0.1", 8080)) == "172.20.0.1"
    assert await inside(host, lambda: ask("::1", 8080)) == "172.20.0.1"
    assert await inside(host, lambda: ask(HOST_ADDRESS, 8080)) == HOST_ADDRESS
    assert await inside(outside, lambda: ask(HOST_ADDRESS, 8080)) == OUTSIDE_ADDRESS
    assert await inside(two, lambda: ask(HOST_ADDRESS, 8080)) == "172.20.0.1"
    assert await inside(two, lambda: ask("172.20.0.1", 8080)) == "172.20.0.1"
    assert await inside(one, lambda: ask(HOST_ADDRESS, 8080)) == "172.20.0.1"
    await networks.unpublish("one" * 8)
    assert await inside(outside, lambda: ask(HOST_ADDRESS, 8080)) == ""
    assert await inside(two, lambda: ask(neighbour.gateway, 8080)) == ""
    shut(server)
    one.close()
    two.close()


async def test_published_udp(networks: Networks, host: Sandbox, outside: Sandbox) -> None:
    one, endpoint = await container(networks, "one")
    server: socket.socket = await inside(one, lambda: bound(socket.SOCK_DGRAM, 53))
    await networks.publish("one" * 8, endpoint, {"53/udp": [{"HostPort": "5353"}]})

    def exchange(address: str) -> str:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.connect((address, 5353))
            client.send(b"?")
            return client.recv(100).decode()

    def answer() -> None:
        while True:
            try:
                _, client = server.recvfrom(100)
                server.sendto(client[0].encode(), client)
            except OSError:
                return

    threading.Thread(target=answer, daemon=True).start()
    assert await inside(host, lambda: exchange("127.0.0.1")) == "172.20.0.1"
    assert await inside(host, lambda: exchange("::1")) == "172.20.0.1"
    assert await inside(outside, lambda: exchange(HOST_ADDRESS)) == OUTSIDE_ADDRESS
    await networks.unpublish("one" * 8)
    server.close()
    one.close()


async def test_udp_flow_follows_the_port_to_its_next_owner(networks: Networks, outside: Sandbox) -> None:
    def receive(server: socket.socket) -> bytes:
        server.settimeout(2)
        return server.recv(100)

    client: socket.socket = await inside(outside, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.connect((HOST_ADDRESS, 5353))
    for name in ("one", "two"):
        sandbox, endpoint = await container(networks, name)
        server: socket.socket = await inside(sandbox, lambda: bound(socket.SOCK_DGRAM, 53))
        await networks.publish(name * 8, endpoint, {"53/udp": [{"HostPort": "5353"}]})
        await settle()
        client.send(name.encode())
        assert await asyncio.to_thread(receive, server) == name.encode()
        await networks.unpublish(name * 8)
        server.close()
        sandbox.close()
    client.close()


async def test_loopback_binding_stays_inside(networks: Networks, host: Sandbox, outside: Sandbox) -> None:
    one, endpoint = await container(networks, "one")
    server = await serve(one, 80)
    await networks.publish("one" * 8, endpoint, {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]})
    assert await inside(host, lambda: ask("127.0.0.1", 8080)) == "172.20.0.1"
    assert await inside(outside, lambda: ask(HOST_ADDRESS, 8080)) == ""
    # An outsider who routes to the container's own address gets nothing either
    index = index_of(outside.channel, "eth0")
    outside.channel.batch([rtnetlink.new_default_route(index, ip_interface(HOST_ADDRESS).ip)])
    assert await inside(outside, lambda: ask(endpoint.ipv4, 80)) == ""
    shut(server)
    one.close()


async def test_host_loopback_is_closed_to_containers(networks: Networks, host: Sandbox) -> None:
    server: socket.socket = await inside(host, lambda: bound(socket.SOCK_DGRAM, 7777, "127.0.0.1"))
    server.settimeout(0.2)
    one, _ = await container(networks, "one")

    def poke() -> None:
        netns.write_sysctl("net/ipv4/conf/eth0/route_localnet", "1")
        one.channel.batch([rtnetlink.delete_address(1, ip_interface("127.0.0.1/8"))])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            try:
                client.sendto(b"!", ("127.0.0.1", 7777))
            except OSError:
                pass

    await inside(one, poke)
    with pytest.raises(TimeoutError):
        server.recv(10)
    server.close()
    one.close()


async def test_masquerade_to_the_outside(networks: Networks, outside: Sandbox) -> None:
    one, _ = await container(networks, "one")
    server = await serve(outside, 80)
    assert await inside(one, lambda: ask(OUTSIDE_ADDRESS, 80)) == HOST_ADDRESS
    shut(server)
    one.close()


async def test_isolation_and_internal(networks: Networks, outside: Sandbox) -> None:
    await networks.create({"Name": "blue"})
    await networks.create({"Name": "cell", "Internal": True})
    one, first = await container(networks, "one")
    two, second = await container(networks, "two", "blue")
    three, third = await container(networks, "three", "cell")
    four, fourth = await container(networks, "four", "cell")
    servers = [await serve(sandbox, 80) for sandbox in (one, two, three, outside)]
    assert await inside(two, lambda: ask(first.ipv4, 80)) == ""
    assert await inside(one, lambda: ask(second.ipv4, 80)) == ""
    assert await inside(three, lambda: ask(OUTSIDE_ADDRESS, 80)) == ""
    assert await inside(four, lambda: ask(third.ipv4, 80)) == fourth.ipv4
    assert await inside(two, lambda: ask(OUTSIDE_ADDRESS, 80)) == HOST_ADDRESS
    # … but a published port of another network is the host's, and open
    await networks.publish("one" * 8, first, {"80/tcp": [{"HostPort": "8080"}]})
    assert await inside(two, lambda: ask(HOST_ADDRESS, 8080)) == first.gateway
    for server in servers:
        shut(server)
    for sandbox in (one, two, three, four):
        sandbox.close()


async def test_port_conflict_leaves_nothing(networks: Networks) -> None:
    one, first = await container(networks, "one")
    two, second = await container(networks, "two")
    await networks.publish("one" * 8, first, {"80/tcp": [{"HostPort": "8080"}]})
    with pytest.raises(Internal, match=r"endpoint two \(.*\): Bind for 0.0.0.0:8080 failed: port is already allocated"):
        await networks.publish("two" * 8, second, {"81/tcp": [{"HostPort": "8081"}], "80/tcp": [{"HostPort": "8080"}]})
    ports = await networks.publish("two" * 8, second, {"81/tcp": [{"HostPort": "8081"}]}, ["9/tcp"], True)
    assert ports["81/tcp"][0]["HostPort"] == "8081"
    assert int(ports["9/tcp"][0]["HostPort"]) > 1023
    ranged = await networks.publish("one" * 8, first, {"90/tcp": [{"HostPort": "8080-8083"}]})
    assert ranged["90/tcp"][0]["HostPort"] == "8082"
    one.close()
    two.close()


def query(name: str, kind: int = dns.A, server: tuple[str, int] = ("127.0.0.11", 53)) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    packet = struct.pack(">HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.connect(server)
        client.send(packet)
        return client.recv(4096)


async def test_names(networks: Networks) -> None:
    await networks.create({"Name": "blue"})
    one, first = await container(networks, "one", "blue")
    two, _ = await container(networks, "two", "blue")
    reply = await inside(two, lambda: query("one"))
    assert reply[-4:] == socket.inet_aton(first.ipv4)
    assert struct.unpack(">HHHH", reply[:8]) == (4711, 0x8580, 1, 1)
    assert await inside(two, lambda: query("ONE.blue")) is not None
    assert struct.unpack(">HHHH", (await inside(two, lambda: query("one", dns.AAAA)))[:8])[3] == 0
    reverse = ".".join(reversed(first.ipv4.split("."))) + ".in-addr.arpa"
    assert b"\3one\4blue\0" in await inside(two, lambda: query(reverse, dns.PTR))
    own = await inside(two, lambda: bound(socket.SOCK_DGRAM, 53))  # port 53 is the container's own
    own.close()
    networks.rename("one" * 8, "one", "uno")
    assert (await inside(two, lambda: query("uno")))[-4:] == socket.inet_aton(first.ipv4)
    for sandbox in (one, two):
        sandbox.close()


async def test_ipv6(networks: Networks) -> None:
    network = await networks.create({"Name": "six", "EnableIPv6": True})
    assert [subnet.network.version for subnet in network.subnets] == [4, 6]
    one, first = await container(networks, "one", "six")
    two, _ = await container(networks, "two", "six")

    def listen() -> socket.socket:
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.settimeout(2)
        server.bind((first.ipv6, 99))
        return server

    server: socket.socket = await inside(one, listen)

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.sendto(b"six", (first.ipv6, 99))

    await inside(two, send)
    assert await asyncio.to_thread(server.recv, 10) == b"six"
    reply = await inside(two, lambda: query("one", dns.AAAA))
    assert reply[-16:] == socket.inet_pton(socket.AF_INET6, first.ipv6)
    server.close()
    web = await serve(one, 80)
    await networks.publish("one" * 8, first, {"80/tcp": [{"HostPort": "8080"}]})
    assert await asyncio.to_thread(ask, "::1", 8080) == first.gateway
    shut(web)
    for sandbox in (one, two):
        sandbox.close()


async def test_live_connect_and_disconnect(networks: Networks) -> None:
    network = await networks.create({"Name": "blue"})
    one, first = await container(networks, "one")
    second = await networks.connect("blue", "one" * 8, one, {"Aliases": ["uno"]}, ["one", "uno"])
    assert (first.interface, second.interface) == ("eth0", "eth1")
    with pytest.raises(Forbidden, match="already exists in network blue"):
        await networks.connect("blue", "one" * 8, one, {}, ["one"], container_name="one")
    with pytest.raises(Forbidden, match="has active endpoints"):
        await networks.remove("blue")
    await networks.disconnect("bridge", "one" * 8, one)
    index_of(one.channel, "eth1")
    assert await inside(one, lambda: ask(second.gateway, 1)) == ""
    await networks.disconnect("blue", "one" * 8, one)
    await networks.remove(network.id)
    with pytest.raises(NotFound):
        networks.get("blue")
    one.close()


async def test_nothing_left_behind_and_restore(host: Sandbox, tmp_path: Any) -> None:
    path = str(tmp_path / "db")
    before = {link.name for link in links(host)}
    first = Networks(Database(path), settings())
    await first.start()
    kept, endpoint = await container(first, "kept")
    lost, _ = await container(first, "lost")
    await first.publish("kept" * 8, endpoint, {"80/tcp": [{"HostPort": "8080"}]})
    server = await serve(kept, 80)
    await first.close()  # as after a kill: nobody disconnected anything

    again = Networks(Database(path), settings())
    await again.start()
    assert await inside(host, lambda: ask("127.0.0.1", 8080)) == "172.20.0.1"  # the table works on meanwhile
    await again.restore({"kept" * 8: os.getpid()})
    await settle()
    assert await inside(host, lambda: ask("127.0.0.1", 8080)) == "172.20.0.1"
    assert [each.container_name for each in again.endpoints(again.get("bridge").id)] == ["kept"]
    assert [link.name for link in links(host) if link.kind == "veth"] == [endpoint.host_veth]
    shut(server)
    await again.unpublish("kept" * 8)
    await again.disconnect("bridge", "kept" * 8)
    kept.close()
    lost.close()
    await again.remove_all()
    await again.close()
    await settle()
    assert {link.name for link in links(host)} == before
    channel = nft.open_channel()
    assert nft.tables(channel, nft.FAMILY_IPV4) == []
    channel.close()


def links(host: Sandbox) -> list[rtnetlink.Link]:
    kind, _, body = rtnetlink.list_links()
    return [rtnetlink.parse_link(payload) for payload in host.channel.dump(kind, body)]


async def test_foreign_rules_are_untouched_and_reported(host: Sandbox) -> None:
    transaction = nft.Transaction(nft.FAMILY_IPV4, "filter")
    transaction.add_table()
    transaction.add_base_chain("FORWARD", "filter", nft.FORWARD, 0, drops=True)
    channel = nft.open_channel()
    transaction.commit(channel)
    found = Networks(Database(":memory:"), settings())
    await found.start()
    assert "iptables -I FORWARD -i nettest0 -j ACCEPT" in found.warnings[0]
    chains = [chain for chain in nft.base_chains(channel, nft.FAMILY_IPV4) if chain.table == "filter"]
    assert [(chain.name, chain.drops) for chain in chains] == [("FORWARD", True)]
    await found.remove_all()
    await found.close()
    assert nft.tables(channel, nft.FAMILY_IPV4) == ["filter"]
    channel.close()


async def test_beside_a_docker_engine_that_drops_what_is_forwarded(host: Sandbox, outside: Sandbox) -> None:
    transaction = nft.Transaction(nft.FAMILY_IPV4, "filter")
    transaction.add_table()
    transaction.add_base_chain("FORWARD", "filter", nft.FORWARD, 0, drops=True)
    transaction.add_chain("DOCKER-USER")
    channel = nft.open_channel()
    transaction.commit(channel)
    found = Networks(Database(":memory:"), settings())
    await found.start()
    assert "iptables -I DOCKER-USER -i nettest0 -j ACCEPT" in found.warnings[0]
    await found.create({"Name": "blue"})
    await found.create({"Name": "cell", "Internal": True})
    one, first = await container(found, "one")
    two, _ = await container(found, "two")
    three, _ = await container(found, "three", "blue")
    four, _ = await container(found, "four", "cell")
    servers = [await serve(one, 80), await serve(outside, 80)]
    await found.publish("one" * 8, first, {"80/tcp": [{"HostPort": "8080"}]})
    assert await inside(host, lambda: ask("127.0.0.1", 8080)) == first.gateway
    assert await inside(outside, lambda: ask(HOST_ADDRESS, 8080)) != ""
    assert await inside(two, lambda: ask(HOST_ADDRESS, 8080)) != ""
    assert await inside(three, lambda: ask(HOST_ADDRESS, 8080)) != ""
    assert await inside(two, lambda: ask(first.ipv4, 80)) != ""
    assert await inside(two, lambda: ask(OUTSIDE_ADDRESS, 80)) == HOST_ADDRESS
    assert await inside(three, lambda: ask(first.ipv4, 80)) == ""
    assert await inside(four, lambda: ask(first.ipv4, 80)) == ""
    assert await inside(four, lambda: ask(OUTSIDE_ADDRESS, 80)) == ""
    assert await inside(outside, lambda: ask(HOST_ADDRESS, found._relay.tcp_port)) == ""  # type: ignore[union-attr]
    for server in servers:
        shut(server)
    for sandbox in (one, two, three, four):
        sandbox.close()
    await found.remove_all()
    await found.close()
    assert nft.tables(channel, nft.FAMILY_IPV4) == ["filter"]
    channel.close()


async def test_many_at_once_and_nothing_left(networks: Networks, host: Sandbox) -> None:
    async def run(number: int) -> str:
        sandbox = await networks.sandbox()
        name = f"c{number}"
        endpoint = await networks.connect("bridge", name, sandbox, {}, [name], container_name=name)
        await networks.publish(name, endpoint, {"80/tcp": [{}]})
        await networks.unpublish(name)
        sandbox.close()
        await networks.disconnect("bridge", name)
        return str(endpoint.mac)

    assert len(set(await asyncio.gather(*map(run, range(60))))) == 60
    await asyncio.sleep(1)
    assert [link.name for link in links(host) if link.kind == "veth"] == []
    assert networks.endpoints(networks.get("bridge").id) == []
    channel = nft.open_channel()
    assert nft.elements(channel, nft.FAMILY_IPV4, "nettest", "published_any") == []
    channel.close()

"""A way out of the bridges in user space, for hosts on which a Docker Engine drops what is forwarded.

Docker sets the policy of the FORWARD chain to DROP and accepts its own bridges only. We neither change its rules nor can we
overrule a drop; but what the host itself sends and receives does not cross FORWARD. So, while such a policy stands, the
firewall redirects TCP connections of containers, and their DNS queries, to this relay, which makes them anew from the host.
Slower than forwarding, other UDP and ICMP stay blocked, and peers see the host's address; but builds and services work.

Isolation is kept: the relay serves containers only, reaches nothing in another network of ours, and from an internal network
nothing but its own neighbours.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address

from sampan.network.forwarder import carry
from sampan.network.model import Network
from sampan.network.resolv_conf import upstreams
from sampan.network.resolver import DatagramService, QueryClient

_SO_ORIGINAL_DST = 80
_BACKLOG = 512


class Relay:
    """One TCP and one UDP socket on ports that the kernel chose. Belongs to the event loop."""

    def __init__(self, networks: Callable[[], list[Network]]) -> None:
        self._networks = networks
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM | flags)
        self._datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | flags)
        self._stream.bind(("0.0.0.0", 0))
        self._stream.listen(_BACKLOG)
        self._datagram.bind(("0.0.0.0", 0))
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def tcp_port(self) -> int:
        return int(self._stream.getsockname()[1])

    @property
    def dns_port(self) -> int:
        return int(self._datagram.getsockname()[1])

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._stream.fileno(), self._accept)
        client = QueryClient(lambda container_id, question: None, "", upstreams())
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: DatagramService(client, self._may_ask), sock=self._datagram
        )

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(32):
            try:
                connection, (client, _) = self._stream.accept()
            except OSError:
                return
            connection.setblocking(False)
            target = _original_destination(connection)
            if target is None or target[1] == self.tcp_port or not self._allowed(client, target[0]):
                connection.close()
                continue
            task = loop.create_task(carry(connection, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _network_of(self, address: IPv4Address) -> Network | None:
        for network in self._networks():
            subnet = network.subnet(4)
            if subnet is not None and address in subnet.network:
                return network
        return None

    def _allowed(self, client: str, target: str) -> bool:
        source, destination = ip_address(client), ip_address(target)
        assert isinstance(source, IPv4Address) and isinstance(destination, IPv4Address)
        if destination.is_loopback or destination.is_multicast:
            return False
        origin, other = self._network_of(source), self._network_of(destination)
        if origin is None:
            return False
        if other is origin:
            return origin.icc
        return other is None and not origin.internal

    def _may_ask(self, client: str) -> bool:
        origin = self._network_of(IPv4Address(client))
        return origin is not None and not origin.internal

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._stream.fileno())
        self._stream.close()
        if self._transport is not None:
            self._transport.close()
        else:
            self._datagram.close()
        for task in self._tasks:
            task.cancel()


def _original_destination(connection: socket.socket) -> tuple[str, int] | None:
    """Where the client meant to connect to, before the redirection (struct sockaddr_in)."""
    try:
        raw = connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    except OSError:
        return None
    port, address = struct.unpack_from(">2xH4s", raw)
    return socket.inet_ntoa(address), port

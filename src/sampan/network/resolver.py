"""The resolver that containers in user-defined networks find at 127.0.0.11.

Its sockets stand in the container's own network namespace, on ports that the kernel chose; two rules in that namespace
lead port 53 of 127.0.0.11 there, so that a container may run a name server of its own on port 53. Names of containers in
the networks shared with the asker are answered here; all else goes byte for byte to the upstream servers, from the host.

It runs in sampand's event loop and ends with it; `serve` is called again for each live container after a restart.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from sampan.linux.netlink import netns
from sampan.linux.nft import expressions as ex
from sampan.linux.nft import requests as nft
from sampan.network import dns
from sampan.network.resolv_conf import RESOLVER_ADDRESS

_TABLE = "resolver"
_DNS_PORT = 53
_UPSTREAM_TIMEOUT_S = 2.0
_TCP_IDLE_S = 10.0
_MAX_QUERIES = 256

# (container id, question) → records, or None if the name is not ours to answer
Lookup = Callable[[str, dns.Question], "list[tuple[int, bytes]] | None"]


class _Service(NamedTuple):
    datagrams: asyncio.DatagramTransport
    stream: asyncio.Server


def open_sockets(netns_fd: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket inside the namespace, with the rules that lead port 53 to them. Blocking.

    Raises:
        OSError: the kernel refused.
    """

    def inside() -> tuple[socket.socket, socket.socket]:
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | flags)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | flags)
        try:
            udp.bind((RESOLVER_ADDRESS, 0))
            tcp.bind((RESOLVER_ADDRESS, 0))
            tcp.listen(64)
            _redirect(udp.getsockname()[1], tcp.getsockname()[1])
        except BaseException:
            udp.close()
            tcp.close()
            raise
        return udp, tcp

    return netns.within(netns_fd, inside)


def _redirect(udp_port: int, tcp_port: int) -> None:
    channel = nft.open_channel()
    try:
        transaction = nft.Transaction(nft.FAMILY_IPV4, _TABLE)
        if _TABLE in nft.tables(channel, nft.FAMILY_IPV4):
            transaction.delete_table()  # an earlier life's; costs some 10 ms, in which the kernel waits for readers
        transaction.add_table()
        transaction.add_base_chain("output", "nat", nft.OUTPUT, nft.PRIORITY_DSTNAT)
        for protocol, port in ((socket.IPPROTO_UDP, udp_port), (socket.IPPROTO_TCP, tcp_port)):
            transaction.add_rule("output", *_redirection(protocol, port))
        transaction.commit(channel)
    finally:
        channel.close()


def _redirection(protocol: int, port: int) -> tuple[bytes, ...]:
    address = socket.inet_aton(RESOLVER_ADDRESS)
    return (
        ex.match_destination_in(4, address, b"\xff" * 4),
        ex.match_protocol(protocol),
        ex.match_destination_port(_DNS_PORT),
        ex.immediate(address, ex.REGISTER),
        ex.immediate(struct.pack(">H", port), ex.REGISTER + 1),
        ex.destination_nat(4, ex.REGISTER, ex.REGISTER + 1),
    )


class Resolver:
    """All containers' resolvers of one engine."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._services: dict[str, _Service] = {}

    def serves(self, container_id: str) -> bool:
        return container_id in self._services

    async def serve(
        self, container_id: str, sockets: tuple[socket.socket, socket.socket], upstreams: Sequence[str]
    ) -> None:
        """Answer on the sockets, which this object owns from now on."""
        self.forget(container_id)
        loop = asyncio.get_running_loop()
        client = QueryClient(self._lookup, container_id, tuple(upstreams))
        datagrams, _ = await loop.create_datagram_endpoint(lambda: DatagramService(client), sock=sockets[0])
        stream = await asyncio.start_server(client.stream, sock=sockets[1])
        self._services[container_id] = _Service(datagrams, stream)

    def forget(self, container_id: str) -> None:
        """Stop answering a container; its sockets no longer keep its namespace alive."""
        service = self._services.pop(container_id, None)
        if service is not None:
            service.datagrams.close()
            service.stream.close()

    def close(self) -> None:
        for container_id in list(self._services):
            self.forget(container_id)


class QueryClient:
    """One container's questions."""

    def __init__(self, lookup: Lookup, container_id: str, upstreams: tuple[str, ...]) -> None:
        self._lookup = lookup
        self._container_id = container_id
        self._upstreams = upstreams
        self._running = 0

    def known(self, query: bytes) -> bytes | None:
        """The answer, if it is ours to give."""
        question = dns.parse_question(query)
        if question is None:
            return None
        records = self._lookup(self._container_id, question)
        return None if records is None else dns.answer(query, question, records)

    async def forward(self, query: bytes, *, over_tcp: bool) -> bytes:
        """The first upstream's answer, whatever it says; SERVFAIL if none answers in time."""
        if self._running >= _MAX_QUERIES:
            return dns.failure(query)
        self._running += 1
        try:
            for address in self._upstreams:
                try:
                    ask = _ask_tcp if over_tcp else _ask_udp
                    return await asyncio.wait_for(ask(address, query), _UPSTREAM_TIMEOUT_S)
                except (OSError, TimeoutError, EOFError):
                    continue  # the next server is asked
            return dns.failure(query)
        finally:
            self._running -= 1

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = struct.unpack(">H", await asyncio.wait_for(reader.readexactly(2), _TCP_IDLE_S))[0]
                query = await asyncio.wait_for(reader.readexactly(size), _TCP_IDLE_S)
                if len(query) < 12:
                    return
                reply = self.known(query) or await self.forward(query, over_tcp=True)
                writer.write(struct.pack(">H", len(reply)) + reply)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            writer.close()


class DatagramService(asyncio.DatagramProtocol):
    """Questions by UDP; those of askers that `admit` refuses are dropped."""

    def __init__(self, client: QueryClient, admit: Callable[[str], bool] = lambda address: True) -> None:
        self._client = client
        self._admit = admit
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if len(data) < 12 or self._transport is None or not self._admit(address[0]):
            return
        reply = self._client.known(data)
        if reply is not None:
            self._transport.sendto(reply, address)
            return
        task = asyncio.get_running_loop().create_task(self._forward(data, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, address: tuple[str, int]) -> None:
        reply = await self._client.forward(data, over_tcp=False)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, address)


async def _ask_udp(address: str, query: bytes) -> bytes:
    """Ask with a random identity of our own, so that a forged answer must guess more than the asker's choice."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    identity = struct.pack(">H", random.SystemRandom().randrange(65536))
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as outward:
        outward.connect((address, _DNS_PORT))
        await loop.sock_sendall(outward, identity + query[2:])
        while True:
            reply = await loop.sock_recv(outward, 65535)
            if len(reply) >= 12 and reply[:2] == identity:
                return query[:2] + reply[2:]


async def _ask_tcp(address: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, _DNS_PORT)
    try:
        writer.write(struct.pack(">H", len(query)) + query)
        size = struct.unpack(">H", await reader.readexactly(2))[0]
        return await reader.readexactly(size)
    finally:
        writer.close()

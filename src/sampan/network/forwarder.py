"""Published ports in user space, for the connections that the firewall does not translate.

A published port is reserved by a bound socket, so that no other program takes it. The kernel translates nearly all
connections before they reach that socket; those that do reach it (to `::1` or another IPv6 address when the container has
IPv4 only) are carried by this module. Runs in the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import OrderedDict

_PIPE_BYTES = 1 << 16
_UDP_CLIENTS = 1024
_UDP_IDLE_S = 90.0
_BACKLOG = 256


def reserve(protocol: str, host_ip: str, port: int) -> socket.socket | None:
    """A socket that holds the port (0: a free one); None if this kernel does not speak the protocol or the IP version.

    Raises:
        OSError: EADDRINUSE, EADDRNOTAVAIL.
    """
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = socket.IPPROTO_SCTP if protocol == "sctp" else 0
    try:
        held = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        raise
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host_ip, port))
        if protocol == "tcp":
            held.listen(_BACKLOG)
        return held
    except OSError as error:
        held.close()
        if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise


class Forwarder:
    """Serves one reserved socket towards `target`; owns the socket."""

    def __init__(self, held: socket.socket, protocol: str, target: tuple[str, int]) -> None:
        self._socket = held
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: OrderedDict[object, tuple[socket.socket, asyncio.TimerHandle]] = OrderedDict()
        if protocol == "tcp":
            self._loop.add_reader(held.fileno(), self._accept)
        elif protocol == "udp":
            self._loop.add_reader(held.fileno(), self._datagram)

    def close(self) -> None:
        """Free the port; open connections end."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for task in self._tasks:
            task.cancel()
        while self._clients:
            self._drop_client(next(iter(self._clients)))

    # --- TCP

    def _accept(self) -> None:
        for _ in range(32):
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setblocking(False)
            task = self._loop.create_task(carry(connection, self._target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # --- UDP: one connected socket per client, closed when idle

    def _datagram(self) -> None:
        for _ in range(64):
            try:
                data, client = self._socket.recvfrom(65535)
            except OSError:
                return
            outward = self._outward(client)
            if outward is not None:
                try:
                    outward.send(data)
                except OSError:
                    pass  # as lost as on any wire

    def _outward(self, client: object) -> socket.socket | None:
        known = self._clients.get(client)
        if known is not None:
            known[1].cancel()
            outward = known[0]
        else:
            if len(self._clients) >= _UDP_CLIENTS:
                self._drop_client(next(iter(self._clients)))
            family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
            outward = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                outward.connect(self._target)
            except OSError:
                outward.close()
                return None
            self._loop.add_reader(outward.fileno(), self._answer, outward, client)
        timer = self._loop.call_later(_UDP_IDLE_S, self._drop_client, client)
        self._clients[client] = (outward, timer)
        self._clients.move_to_end(client)
        return outward

    def _answer(self, outward: socket.socket, client: object) -> None:
        try:
            data = outward.recv(65535)
            self._socket.sendto(data, client)  # type: ignore[call-overload]
        except OSError:
            return

    def _drop_client(self, client: object) -> None:
        known = self._clients.pop(client, None)
        if known is not None:
            known[1].cancel()
            self._loop.remove_reader(known[0].fileno())
            known[0].close()


async def carry(connection: socket.socket, target: tuple[str, int]) -> None:
    """Both directions of one TCP connection, each with its own end of stream."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with connection, socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as outward:
        try:
            await asyncio.wait_for(loop.sock_connect(outward, target), 30)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(loop, connection, outward))
                group.create_task(_pump(loop, outward, connection))
        except (OSError, TimeoutError, ExceptionGroup):
            return


async def _pump(loop: asyncio.AbstractEventLoop, source: socket.socket, sink: socket.socket) -> None:
    while data := await loop.sock_recv(source, _PIPE_BYTES):
        await loop.sock_sendall(sink, data)
    sink.shutdown(socket.SHUT_WR)

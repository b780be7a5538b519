"""A netlink socket that sends batches: several requests in one datagram, all answers awaited.

rtnetlink works each message of a datagram in order and acknowledges each, so that one `send` builds a whole interface.
A socket stays in the network namespace in which it was opened, whatever its thread does later; that is how a container's
namespace is configured without entering it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence

from sampan.linux.netlink import message as nl

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_GET_STRICT_CHK = 12
_BUFFER_BYTES = 1 << 18


class NetlinkError(OSError):
    """The kernel refused request number `index` of a batch."""

    def __init__(self, code: int, index: int) -> None:
        super().__init__(code, os.strerror(code))
        self.index = index


Requests = Sequence[tuple[int, int, bytes]]


class Channel:
    """An open netlink socket of one family. Not thread-safe."""

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket.bind((0, 0))
        self._sequence = 1

    def fileno(self) -> int:
        return self._socket.fileno()

    def batch(self, requests: Requests, *, ignore: frozenset[int] = frozenset()) -> None:
        """Send requests `(kind, flags, body)` in one datagram and wait until each is acknowledged.

        Errnos in `ignore` count as success. Later requests of the batch are tried even if an earlier one fails.

        Raises:
            NetlinkError: of the first request that failed.
        """
        if not requests:
            return
        first = self._sequence
        self._sequence += len(requests)
        self._socket.send(
            b"".join(
                nl.message(kind, flags | nl.NLM_F_ACK, first + index, body)
                for index, (kind, flags, body) in enumerate(requests)
            )
        )
        failed: tuple[int, int] | None = None
        waiting = len(requests)
        while waiting:
            for kind, _, sequence, body in nl.messages(self._receive()):
                if kind != nl.NLMSG_ERROR or not first <= sequence < first + len(requests):
                    continue
                waiting -= 1
                code = -struct.unpack_from("=i", body)[0]
                if code and code not in ignore and (failed is None or sequence - first < failed[0]):
                    failed = (sequence - first, code)
        if failed:
            raise NetlinkError(failed[1], failed[0])

    def transaction(self, begin: bytes, requests: Requests, end: bytes) -> None:
        """Send nfnetlink requests between a batch's begin and end messages: all take effect, or none.

        Raises:
            NetlinkError: of the first request that failed; nothing changed.
        """
        first = self._sequence
        self._sequence += len(requests)
        parts = [begin]
        parts += [
            nl.message(kind, flags | (nl.NLM_F_ACK if index == len(requests) - 1 else 0), first + index, body)
            for index, (kind, flags, body) in enumerate(requests)
        ]
        self._socket.send(b"".join([*parts, end]))
        # Only the last request asks for an acknowledgement; the others answer when they fail. The errors of one batch come
        # in order, in datagrams queued before `send` returns.
        failure: NetlinkError | None = None
        last = first + len(requests) - 1
        flags = 0
        while True:
            try:
                data = self._socket.recv(_BUFFER_BYTES, flags)
            except BlockingIOError:
                break
            for kind, _, sequence, body in nl.messages(data):
                if kind == nl.NLMSG_ERROR and (sequence >= first or sequence == 0):
                    code = -struct.unpack_from("=i", body)[0]
                    if code and failure is None:
                        failure = NetlinkError(code, sequence - first)
                    if code or sequence == last:
                        flags = socket.MSG_DONTWAIT
        if failure:
            raise failure

    def get(self, kind: int, body: bytes) -> bytes:
        """The answer of a request for one object.

        Raises:
            NetlinkError: no such object, or refused.
        """
        sequence = self._sequence
        self._sequence += 1
        self._socket.send(nl.message(kind, 0, sequence, body))
        while True:
            for answer, _, number, payload in nl.messages(self._receive()):
                if number != sequence:
                    continue
                if answer == nl.NLMSG_ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", payload)[0], 0)
                return payload

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """All objects that a dump request finds."""
        for _ in range(5):
            try:
                return self._dump(kind, body)
            except InterruptedError:
                continue  # the tables changed during the dump (NLM_F_DUMP_INTR): take it again
        return self._dump(kind, body, tolerant=True)

    def _dump(self, kind: int, body: bytes, tolerant: bool = False) -> list[bytes]:
        sequence = self._sequence
        self._sequence += 1
        self._socket.send(nl.message(kind, nl.NLM_F_DUMP, sequence, body))
        found: list[bytes] = []
        interrupted = False
        while True:
            for answer, flags, number, payload in nl.messages(self._receive()):
                if number != sequence:
                    continue
                interrupted |= bool(flags & 0x10)
                if answer == nl.NLMSG_DONE:
                    if interrupted and not tolerant:
                        raise InterruptedError
                    return found
                if answer == nl.NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code == errno.EINTR:
                        raise InterruptedError
                    raise NetlinkError(code, 0)
                found.append(payload)

    def _receive(self) -> bytes:
        return self._socket.recv(_BUFFER_BYTES)

    def close(self) -> None:
        self._socket.close()

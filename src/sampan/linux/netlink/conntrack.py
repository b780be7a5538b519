"""Entries of the connection tracking table (ctnetlink): find by their original destination port, and delete.

Constants are those of <linux/netfilter/nfnetlink_conntrack.h>.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection

from sampan.linux.netlink import message as nl
from sampan.linux.netlink.channel import NETLINK_NETFILTER, Channel

_SUBSYSTEM = 1
_GET, _DELETE = 1, 2
_TUPLE_ORIGINAL = 1
_TUPLE_PROTO = 2
_PROTO_NUMBER, _PROTO_DESTINATION_PORT = 1, 3
_HEADER = struct.Struct(">BBH")


def forget_flows(family: int, protocol: int, destination_ports: Collection[int]) -> int:
    """Delete the entries of flows that were first sent to one of the ports; gives their number. Blocking: it reads the
    whole table.

    A datagram flow that is remembered goes on to where it went before, whatever the rules say now.

    Raises:
        OSError: the kernel refused.
    """
    channel = Channel(NETLINK_NETFILTER)
    try:
        stale = []
        for payload in channel.dump(_SUBSYSTEM << 8 | _GET, _HEADER.pack(family, 0, 0)):
            original = nl.attributes(payload, _HEADER.size).get(_TUPLE_ORIGINAL, b"")
            proto = nl.attributes(nl.attributes(original).get(_TUPLE_PROTO, b""))
            if proto.get(_PROTO_NUMBER) != bytes([protocol]) or _PROTO_DESTINATION_PORT not in proto:
                continue
            if struct.unpack(">H", proto[_PROTO_DESTINATION_PORT])[0] in destination_ports:
                stale.append(original)
        requests = [
            (_SUBSYSTEM << 8 | _DELETE, 0, _HEADER.pack(family, 0, 0) + nl.nested(_TUPLE_ORIGINAL, original))
            for original in stale
        ]
        for start in range(0, len(requests), 100):
            channel.batch(requests[start : start + 100], ignore=frozenset({errno.ENOENT}))
        return len(stale)
    finally:
        channel.close()

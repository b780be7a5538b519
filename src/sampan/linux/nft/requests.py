"""nf_tables requests: tables, chains, rules, sets and their elements. Pure; `Transaction` collects and sends them.

Everything in one transaction takes effect at once or not at all (the kernel's own guarantee for a netlink batch).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from sampan.linux.netlink import message as nl
from sampan.linux.netlink.channel import NETLINK_NETFILTER, Channel
from sampan.linux.nft import expressions as ex

_SUBSYSTEM = 10
(
    _NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _DELCHAIN, _NEWRULE, _GETRULE, _DELRULE,
    _NEWSET, _GETSET, _DELSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM,
) = range(15)  # fmt: skip
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_LIST_ELEM = 1
# libnftnl's note to itself (type 0: byte order of the key, value 1: the host's), without which nft(8) lists names as ""
_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)
_SET_CONSTANT, _SET_MAP = 0x2, 0x8

FAMILY_INET, FAMILY_IPV4, FAMILY_IPV6 = 1, 2, 10
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
PRIORITY_RAW, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT = -300, -100, 0, 100

# nft(8)'s own numbers of data types; a concatenation shifts by six bits. Only its listing reads them.
TYPE_IPV4, TYPE_IPV6, TYPE_PROTOCOL, TYPE_PORT, TYPE_INTERFACE = 7, 8, 12, 13, 41


def concatenated(*types: int) -> int:
    number = 0
    for each in types:
        number = number << 6 | each
    return number


class Element(NamedTuple):
    key: bytes
    data: bytes = b""


class BaseChain(NamedTuple):
    """A chain that hangs in a hook, as the kernel lists it."""

    family: int
    table: str
    name: str
    kind: str
    hook: int
    priority: int
    drops: bool


def _header(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _kind(number: int) -> int:
    return _SUBSYSTEM << 8 | number


class Transaction:
    """Requests for one table, sent together by `commit`."""

    def __init__(self, family: int, table: str) -> None:
        self._family = family
        self._table = table
        self._requests: list[tuple[int, int, bytes]] = []
        self._set_id = 0

    def _add(self, number: int, flags: int, body: bytes) -> None:
        self._requests.append((_kind(number), flags, _header(self._family) + body))

    def add_table(self) -> None:
        self._add(_NEWTABLE, nl.NLM_F_CREATE, nl.string(1, self._table) + nl.u32be(2, 0))

    def delete_table(self) -> None:
        self._add(_DELTABLE, 0, nl.string(1, self._table))

    def add_chain(self, name: str) -> None:
        self._add(_NEWCHAIN, nl.NLM_F_CREATE, nl.string(1, self._table) + nl.string(3, name))

    def add_base_chain(self, name: str, kind: str, hook: int, priority: int, *, drops: bool = False) -> None:
        """A chain of type `filter` or `nat` in a hook, with policy accept unless it `drops`."""
        hooked = nl.nested(4, nl.u32be(1, hook), nl.attribute(2, struct.pack(">i", priority)))
        body = nl.string(1, self._table) + nl.string(3, name) + hooked + nl.u32be(5, ex.DROP if drops else ex.ACCEPT)
        self._add(_NEWCHAIN, nl.NLM_F_CREATE, body + nl.string(7, kind))

    def flush_chain(self, name: str) -> None:
        self._add(_DELRULE, 0, nl.string(1, self._table) + nl.string(2, name))

    def add_rule(self, chain: str, *expressions: bytes) -> None:
        body = nl.string(1, self._table) + nl.string(2, chain) + nl.nested(4, *expressions)
        self._add(_NEWRULE, nl.NLM_F_CREATE | nl.NLM_F_APPEND, body)

    def add_set(self, name: str, key_type: int, key_bytes: int) -> None:
        kinds = nl.u32be(4, key_type) + nl.u32be(5, key_bytes)
        if key_type == TYPE_INTERFACE:
            kinds += nl.attribute(13, _HOST_ORDER)
        self._new_set(name, 0, kinds)

    def add_map(self, name: str, key_type: int, key_bytes: int, data_type: int, data_bytes: int) -> None:
        kinds = nl.u32be(4, key_type) + nl.u32be(5, key_bytes) + nl.u32be(6, data_type) + nl.u32be(7, data_bytes)
        self._new_set(name, _SET_MAP, kinds)

    def _new_set(self, name: str, flags: int, kinds: bytes) -> None:
        self._set_id += 1
        body = nl.string(1, self._table) + nl.string(2, name) + nl.u32be(3, flags) + kinds
        self._add(_NEWSET, nl.NLM_F_CREATE, body + nl.u32be(10, self._set_id))

    def flush_set(self, name: str) -> None:
        self._add(_DELSETELEM, 0, nl.string(1, self._table) + nl.string(2, name))

    def add_elements(self, set_name: str, elements: Iterable[Element]) -> None:
        self._elements(_NEWSETELEM, nl.NLM_F_CREATE, set_name, elements)

    def delete_elements(self, set_name: str, elements: Iterable[Element]) -> None:
        self._elements(_DELSETELEM, 0, set_name, elements)

    def _elements(self, number: int, flags: int, set_name: str, elements: Iterable[Element]) -> None:
        packed = [
            nl.nested(_LIST_ELEM, ex.value(1, each.key), ex.value(2, each.data) if each.data else b"")
            for each in elements
        ]
        for start in range(0, len(packed), 500):  # a netlink attribute holds 64 KiB
            body = nl.string(1, self._table) + nl.string(2, set_name) + nl.nested(3, *packed[start : start + 500])
            self._add(number, flags, body)

    def commit(self, channel: Channel) -> None:
        """
        Raises:
            NetlinkError: refused; nothing has changed.
        """
        if not self._requests:
            return
        begin = nl.message(_BATCH_BEGIN, 0, 0, _header(socket.AF_UNSPEC, _SUBSYSTEM))
        end = nl.message(_BATCH_END, 0, 0, _header(socket.AF_UNSPEC, _SUBSYSTEM))
        channel.transaction(begin, self._requests, end)


def open_channel() -> Channel:
    """A netfilter socket in the calling thread's network namespace."""
    return Channel(NETLINK_NETFILTER)


def tables(channel: Channel, family: int) -> list[str]:
    found = channel.dump(_kind(_GETTABLE), _header(family))
    return [nl.text(nl.attributes(payload, 4).get(1, b"")) for payload in found]


def base_chains(channel: Channel, family: int) -> list[BaseChain]:
    """All chains of all tables of a family that hang in a hook."""
    found = []
    for payload in channel.dump(_kind(_GETCHAIN), _header(family)):
        chain = nl.attributes(payload, 4)
        if 4 not in chain:
            continue
        hook = nl.attributes(chain[4])
        found.append(
            BaseChain(
                payload[0],
                nl.text(chain[1]),
                nl.text(chain[3]),
                nl.text(chain.get(7, b"")),
                struct.unpack(">I", hook[1])[0],
                struct.unpack(">i", hook[2])[0],
                struct.unpack(">I", chain.get(5, b"\0\0\0\1"))[0] == ex.DROP,
            )
        )
    return found


def chain_names(channel: Channel, family: int, table: str) -> list[str]:
    """All chains of one table."""
    found = [nl.attributes(payload, 4) for payload in channel.dump(_kind(_GETCHAIN), _header(family))]
    return [nl.text(chain[3]) for chain in found if nl.text(chain[1]) == table]


def elements(channel: Channel, family: int, table: str, set_name: str) -> list[Element]:
    """The elements of a set or map (without data for sets)."""
    found = []
    body = _header(family) + nl.string(1, table) + nl.string(2, set_name)
    for payload in channel.dump(_kind(_GETSETELEM), body):
        for _, raw in nl.attribute_list(nl.attributes(payload, 4).get(3, b"")):
            parts = nl.attributes(raw)
            key = nl.attributes(parts[1]).get(1, b"")
            data = nl.attributes(parts[2]).get(1, b"") if 2 in parts else b""
            found.append(Element(key, data))
    return found

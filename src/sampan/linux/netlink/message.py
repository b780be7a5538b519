"""Packing and unpacking of netlink messages (netlink(7), rtnetlink(7)): bytes in, bytes out, no I/O.

Everything is in host byte order, aligned to 4 bytes. An attribute is `attribute(kind, payload)`; a nest is an attribute
whose payload is attributes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x001
NLM_F_MULTI = 0x002
NLM_F_ACK = 0x004
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
HEADER_BYTES = _HEADER.size


def attribute(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    return _ATTRIBUTE.pack(size + 4, kind) + payload + _PADDING[size & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def u32be(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value))


def string(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One whole message; `body` is the family's fixed header and attributes, already aligned."""
    return _HEADER.pack(HEADER_BYTES + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, flags, sequence, body) of each message in a datagram."""
    offset = 0
    while offset + HEADER_BYTES <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if size < HEADER_BYTES:
            return
        yield kind, flags, sequence, data[offset + HEADER_BYTES : offset + size]
        offset += (size + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on by kind; of a repeated kind the last."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return found


def attribute_list(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Like `attributes`, in order and with repetitions."""
    while offset + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4:
            return
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def text(payload: bytes) -> str:
    """A NUL-terminated string attribute."""
    return payload.partition(b"\0")[0].decode("utf-8", "replace")

"""As much of DNS (RFC 1035) as the embedded resolver needs: read one question, write an answer. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

A, PTR, AAAA, ANY = 1, 12, 28, 255
_IN = 1
_QR, _AA, _RD, _RA = 0x8000, 0x0400, 0x0100, 0x0080
_OPCODE_MASK = 0x7800
SERVFAIL = 2
TTL_S = 600


class Question(NamedTuple):
    """`name` is lower-case without the final dot; `end` is where the question section ends."""

    identity: int
    flags: int
    name: str
    kind: int
    end: int


def parse_question(query: bytes) -> Question | None:
    """The question of a standard query with exactly one; None for all else, which is for others to understand."""
    if len(query) < 12:
        return None
    identity, flags, questions = struct.unpack_from(">HHH", query)
    if flags & _QR or flags & _OPCODE_MASK or questions != 1:
        return None
    labels: list[str] = []
    offset = 12
    while True:
        if offset >= len(query):
            return None
        size = query[offset]
        offset += 1
        if size == 0:
            break
        if size > 63 or offset + size > len(query):
            return None
        labels.append(query[offset : offset + size].decode("utf-8", "replace").lower())
        offset += size
    if offset + 4 > len(query):
        return None
    kind, klass = struct.unpack_from(">HH", query, offset)
    if klass != _IN:
        return None
    return Question(identity, flags, ".".join(labels), kind, offset + 4)


def answer(query: bytes, question: Question, records: list[tuple[int, bytes]]) -> bytes:
    """An authoritative answer with `records` (type, data) for the name asked; none gives NOERROR and empty."""
    flags = _QR | _AA | _RA | (question.flags & _RD)
    head = struct.pack(">HHHHHH", question.identity, flags, 1, len(records), 0, 0)
    body = b"".join(struct.pack(">HHHIH", 0xC00C, kind, _IN, TTL_S, len(data)) + data for kind, data in records)
    return head + query[12 : question.end] + body


def failure(query: bytes, code: int = SERVFAIL) -> bytes:
    """An answer that says that it went wrong."""
    identity, flags = struct.unpack_from(">HH", query)
    question = parse_question(query)
    tail = query[12 : question.end] if question else b""
    return struct.pack(">HHHHHH", identity, _QR | _RA | (flags & _RD) | code, 1 if question else 0, 0, 0, 0) + tail


def address_record(address: str) -> tuple[int, bytes]:
    parsed = ip_address(address)
    return (A if parsed.version == 4 else AAAA), parsed.packed


def name_record(name: str) -> tuple[int, bytes]:
    data = b"".join(bytes([len(label)]) + label for label in (part.encode()[:63] for part in name.split(".")))
    return PTR, data + b"\0"


def address_of_reverse(name: str) -> str:
    """`2.0.17.172.in-addr.arpa` → `172.17.0.2`; empty if it is no reverse name."""
    try:
        if name.endswith(".in-addr.arpa"):
            return str(IPv4Address(".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
            return str(IPv6Address(bytes.fromhex(digits)))
    except ValueError:
        return ""
    return ""

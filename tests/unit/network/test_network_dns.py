from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from sampan.network import dns
from sampan.network.resolv_conf import ResolvConf, parse


def query(name: str, kind: int = dns.A, flags: int = 0x0100, klass: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 7, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, klass)


def test_question() -> None:
    packet = query("Web.Blue")
    assert dns.parse_question(packet + b"extra") == dns.Question(7, 0x0100, "web.blue", dns.A, len(packet))
    assert dns.parse_question(query("x", flags=0x8000)) is None
    assert dns.parse_question(query("x", klass=3)) is None
    assert dns.parse_question(packet[:-1]) is None


@given(st.binary(max_size=80))
def test_garbage_is_nobodys_question(data: bytes) -> None:
    dns.parse_question(data)
    if len(data) >= 12:
        assert len(dns.failure(data)) >= 12


def test_answer() -> None:
    packet = query("web")
    question = dns.parse_question(packet)
    assert question is not None
    reply = dns.answer(packet, question, [dns.address_record("10.0.0.2")])
    assert struct.unpack(">HHHHHH", reply[:12]) == (7, 0x8580, 1, 1, 0, 0)
    assert reply[12 : len(packet)] == packet[12:]
    assert reply[len(packet) :] == b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", dns.TTL_S, 4) + bytes([10, 0, 0, 2])


def test_reverse_names() -> None:
    assert dns.address_of_reverse("2.0.17.172.in-addr.arpa") == "172.17.0.2"
    assert dns.address_of_reverse("x.in-addr.arpa") == ""
    name = ".".join(reversed("fd000000000000000000000000000002")) + ".ip6.arpa"
    assert dns.address_of_reverse(name) == "fd00::2"


def test_resolv_conf() -> None:
    text = "# c\nnameserver 1.1.1.1\nnameserver ::1\ndomain a\nsearch b c\noptions ndots:2 rotate\n"
    found = parse(text)
    assert found == ResolvConf(("1.1.1.1", "::1"), ("b", "c"), ("ndots:2", "rotate"))
    assert parse(found.text()) == found

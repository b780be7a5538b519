"""nf_tables expressions as netlink attributes: what a rule is made of. Pure.

Constants are those of <linux/netfilter/nf_tables.h>. A rule loads fields into registers and tests them; `match_*` below are
whole tests. Registers are the 32-bit ones (NFT_REG32_00 is number 8); a concatenation occupies neighbours.
"""

from __future__ import annotations

import struct

from sampan.linux.netlink import message as nl

REGISTER = 8
_REG_VERDICT = 0

_EXPR_NAME, _EXPR_DATA, _LIST_ELEM = 1, 2, 1
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2

_META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 6, 7, 16
_CT_STATE, _CT_STATUS = 0, 2
CT_ESTABLISHED, CT_RELATED = 2, 4
CT_STATUS_DST_NAT = 0x20
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_FIB_RESULT_ADDRTYPE, _FIB_FLAG_DADDR = 3, 2
_RTN_LOCAL = 2
_EQUAL, _NOT_EQUAL = 0, 1
_NAT_DNAT = 1
_LOOKUP_INVERT = 1
_IFNAMSIZ = 16

DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5


def expression(name: str, *attributes: bytes) -> bytes:
    return nl.nested(_LIST_ELEM, nl.string(_EXPR_NAME, name), nl.nested(_EXPR_DATA, *attributes))


def value(kind: int, data: bytes) -> bytes:
    return nl.nested(kind, nl.attribute(_DATA_VALUE, data))


def verdict_data(kind: int, code: int, chain: str = "") -> bytes:
    parts = nl.attribute(_VERDICT_CODE, struct.pack(">i", code))
    if chain:
        parts += nl.string(_VERDICT_CHAIN, chain)
    return nl.nested(kind, nl.nested(_DATA_VERDICT, parts))


# --- loads


def _meta(key: int, register: int = REGISTER) -> bytes:
    return expression("meta", nl.u32be(1, register), nl.u32be(2, key))


def _payload(base: int, offset: int, size: int, register: int = REGISTER) -> bytes:
    return expression("payload", nl.u32be(1, register), nl.u32be(2, base), nl.u32be(3, offset), nl.u32be(4, size))


def _ct(key: int) -> bytes:
    return expression("ct", nl.u32be(1, REGISTER), nl.u32be(2, key))


def load_l4proto(register: int) -> bytes:
    return _meta(_META_L4PROTO, register)


def load_destination_port(register: int) -> bytes:
    """The same place in TCP, UDP and SCTP."""
    return _payload(_TRANSPORT_HEADER, 2, 2, register)


def load_destination(version: int, register: int) -> bytes:
    return _payload(_NETWORK_HEADER, *((16, 4) if version == 4 else (24, 16)), register)


def _load_source(version: int) -> bytes:
    return _payload(_NETWORK_HEADER, *((12, 4) if version == 4 else (8, 16)))


# --- tests


def _compare(data: bytes, *, equal: bool = True) -> bytes:
    return expression("cmp", nl.u32be(1, REGISTER), nl.u32be(2, _EQUAL if equal else _NOT_EQUAL), value(3, data))


def _mask(mask: bytes) -> bytes:
    return expression(
        "bitwise",
        nl.u32be(1, REGISTER),
        nl.u32be(2, REGISTER),
        nl.u32be(3, len(mask)),
        value(4, mask),
        value(5, bytes(len(mask))),
    )


def interface_bytes(name: str) -> bytes:
    return name.encode().ljust(_IFNAMSIZ, b"\0")


def match_input(name: str, *, equal: bool = True) -> bytes:
    return _meta(_META_IIFNAME) + _compare(interface_bytes(name), equal=equal)


def match_output(name: str, *, equal: bool = True) -> bytes:
    return _meta(_META_OIFNAME) + _compare(interface_bytes(name), equal=equal)


def match_input_in(set_name: str, *, inside: bool = True) -> bytes:
    return _meta(_META_IIFNAME) + lookup(set_name, inside=inside)


def match_output_in(set_name: str, *, inside: bool = True) -> bytes:
    return _meta(_META_OIFNAME) + lookup(set_name, inside=inside)


def match_source_in(version: int, network: bytes, mask: bytes) -> bytes:
    return _load_source(version) + _mask(mask) + _compare(network)


def match_destination_in(version: int, network: bytes, mask: bytes) -> bytes:
    return load_destination(version, REGISTER) + _mask(mask) + _compare(network)


def match_state(bits: int) -> bytes:
    return _ct(_CT_STATE) + _mask(struct.pack("=I", bits)) + _compare(bytes(4), equal=False)


def match_destination_translated() -> bytes:
    """A packet of a connection whose destination somebody's DNAT chose."""
    return _ct(_CT_STATUS) + _mask(struct.pack("=I", CT_STATUS_DST_NAT)) + _compare(bytes(4), equal=False)


def match_destination_local(*, equal: bool = True) -> bytes:
    """The destination is (or is not) one of the host's own addresses."""
    fib = expression("fib", nl.u32be(1, REGISTER), nl.u32be(2, _FIB_RESULT_ADDRTYPE), nl.u32be(3, _FIB_FLAG_DADDR))
    return fib + _compare(struct.pack("=I", _RTN_LOCAL), equal=equal)


def match_protocol(number: int) -> bytes:
    return load_l4proto(REGISTER) + _compare(bytes([number]))


def match_destination_port(port: int) -> bytes:
    return load_destination_port(REGISTER) + _compare(struct.pack(">H", port))


def lookup(set_name: str, *, inside: bool = True) -> bytes:
    """Go on if the register's value is (or is not) in a set."""
    flags = b"" if inside else nl.u32be(5, _LOOKUP_INVERT)
    return expression("lookup", nl.string(1, set_name), nl.u32be(2, REGISTER), flags)


def lookup_map(map_name: str) -> bytes:
    """Replace the key that starts in the register by the map's value for it, or stop."""
    return expression("lookup", nl.string(1, map_name), nl.u32be(2, REGISTER), nl.u32be(3, REGISTER))


# --- statements


def verdict(code: int, chain: str = "") -> bytes:
    return expression("immediate", nl.u32be(1, _REG_VERDICT), verdict_data(2, code, chain))


def immediate(data: bytes, register: int = REGISTER) -> bytes:
    return expression("immediate", nl.u32be(1, register), value(2, data))


def masquerade() -> bytes:
    return expression("masq")


def destination_nat(version: int, address_register: int, port_register: int) -> bytes:
    return expression(
        "nat",
        nl.u32be(1, _NAT_DNAT),
        nl.u32be(2, 2 if version == 4 else 10),
        nl.u32be(3, address_register),
        nl.u32be(5, port_register),
    )


def counter() -> bytes:
    return expression("counter")


def redirect(port: int) -> bytes:
    """To a local port (the address of the interface the packet came in by)."""
    return immediate(struct.pack(">H", port)) + expression("redir", nl.u32be(1, REGISTER), nl.u32be(2, REGISTER))

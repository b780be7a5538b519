"""Protocol Buffers, as much as BuildKit's messages need: declared in a line per field, decoded leniently.

    class Exporter(Message):
        Type: str = field(1, STRING)
        Attrs: dict[str, str] = field(2, mapping(STRING))

Unknown fields are skipped, absent ones have their kind's zero, and zeros are not sent: proto3's rules
(https://protobuf.dev/programming-guides/encoding/). Malformed bytes raise `WireError`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, Self

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class WireError(ValueError):
    """These bytes are no message of the kind that was expected."""


class Kind(NamedTuple):
    """How one value is written. `decode` takes an int (varints) or bytes."""

    wire_type: int
    zero: Callable[[], Any]
    encode: Callable[[Any], bytes]
    decode: Callable[[Any], Any]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


STRING = Kind(_BYTES, str, lambda value: value.encode("utf-8", "surrogateescape"), _text)
BYTES = Kind(_BYTES, bytes, bytes, bytes)
INT = Kind(_VARINT, int, lambda value: varint(value & (1 << 64) - 1), _signed)
BOOL = Kind(_VARINT, bool, lambda value: varint(int(value)), bool)


class _Field(NamedTuple):
    number: int
    kind: Kind
    repeated: bool
    entry: type[Message] | None


def field(number: int, kind: Kind) -> Any:
    return _Field(number, kind, False, None)


def repeated(number: int, kind: Kind) -> Any:
    return _Field(number, kind, True, None)


def mapping(number: int, kind: Kind) -> Any:
    """A map from strings."""

    class Entry(Message):
        key: str = field(1, STRING)
        value: Any = field(2, kind)

    return _Field(number, kind, False, Entry)


def message(kind: type[Message]) -> Kind:
    """A message within a message; absent is None."""
    return Kind(_BYTES, lambda: None, lambda value: bytes(value.encode()), kind.decode)


class Message:
    """Base of all messages. Fields are set by keyword or afterwards."""

    _fields: dict[int, tuple[str, _Field]] = {}

    def __init_subclass__(cls) -> None:
        declared = {name: value for name, value in vars(cls).items() if isinstance(value, _Field)}
        cls._fields = {**cls._fields, **{value.number: (name, value) for name, value in declared.items()}}

    def __init__(self, **values: Any) -> None:
        for name, declared in self._fields.values():
            if declared.entry is not None:
                zero: Any = {}
            else:
                zero = [] if declared.repeated else declared.kind.zero()
            setattr(self, name, values.pop(name, zero))
        if values:
            raise TypeError(f"{type(self).__name__} has no field {next(iter(values))}")

    def encode(self) -> bytes:
        parts: list[bytes] = []
        for name, declared in self._fields.values():
            value = getattr(self, name)
            if declared.entry is not None:
                for key, item in value.items():
                    parts.append(_delimited(declared.number, declared.entry(key=key, value=item).encode()))
            elif declared.repeated:
                for item in value:
                    parts.append(_one(declared, item))
            elif value not in (None, 0, "", b"", False):
                parts.append(_one(declared, value))
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        found = cls()
        offset, end = 0, len(data)
        while offset < end:
            tag, offset = read_varint(data, offset)
            number, wire_type = tag >> 3, tag & 7
            value, offset = _read_value(data, offset, wire_type)
            known = cls._fields.get(number)
            if known is not None and known[1].kind.wire_type == (_BYTES if known[1].entry else wire_type):
                found._take(known[0], known[1], value)
        return found

    def _take(self, name: str, declared: _Field, value: Any) -> None:
        try:
            if declared.entry is not None:
                entry = declared.entry.decode(value)
                getattr(self, name)[entry.key] = entry.value  # type: ignore[attr-defined]
            elif declared.repeated:
                getattr(self, name).append(declared.kind.decode(value))
            else:
                setattr(self, name, declared.kind.decode(value))
        except (TypeError, AttributeError) as error:
            raise WireError(f"{type(self).__name__}.{name}: {error}") from None


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(offset, min(offset + _MAX_VARINT_BYTES, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position + 1
        shift += 7
    raise WireError("a varint does not end")


def _read_value(data: bytes, offset: int, wire_type: int) -> tuple[Any, int]:
    if wire_type == _VARINT:
        return read_varint(data, offset)
    if wire_type == _BYTES:
        length, offset = read_varint(data, offset)
        if offset + length > len(data):
            raise WireError("a field is longer than its message")
        return data[offset : offset + length], offset + length
    if wire_type in (_FIXED64, _FIXED32):
        size = 8 if wire_type == _FIXED64 else 4
        if offset + size > len(data):
            raise WireError("a field is longer than its message")
        return struct.unpack_from("<Q" if size == 8 else "<I", data, offset)[0], offset + size
    raise WireError(f"wire type {wire_type} is not one of proto3")


def _delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | _BYTES) + varint(len(payload)) + payload


def _one(declared: _Field, value: Any) -> bytes:
    payload = declared.kind.encode(value)
    if declared.kind.wire_type == _BYTES:
        return _delimited(declared.number, payload)
    return varint(declared.number << 3 | _VARINT) + payload

"""Durations as Go writes them (`1h30m`, `500ms`), which is how Dockerfiles and Docker's histories hold them."""

from __future__ import annotations

import re
from fractions import Fraction

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.words import go_quote

_UNITS_NS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d*)(?:\.(\d*))?([^\d.]*)")


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a Go duration. Raises `InvalidArgument` with Go's text."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    if not body:
        raise InvalidArgument(f"time: invalid duration {go_quote(text)}")
    total = Fraction(0)
    position = 0
    while position < len(body):
        match = _PART.match(body, position)
        assert match is not None
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if not whole and not fraction:
            raise InvalidArgument(f"time: invalid duration {go_quote(text)}")
        if not unit:
            raise InvalidArgument(f"time: missing unit in duration {go_quote(text)}")
        if unit not in _UNITS_NS:
            raise InvalidArgument(f"time: unknown unit {go_quote(unit)} in duration {go_quote(text)}")
        total += Fraction(int(whole + fraction or "0"), 10 ** len(fraction)) * _UNITS_NS[unit]
        position = match.end()
    value = int(total)
    return -value if text.startswith("-") else value


def format_duration(value_ns: int) -> str:
    """`value_ns` as Go's `Duration.String` writes it: `1h2m3.5s`, `1.5ms`, `0s`."""
    if value_ns == 0:
        return "0s"
    sign, value = ("-", -value_ns) if value_ns < 0 else ("", value_ns)
    if value < 10**9:
        unit, size = ("ns", 1) if value < 1000 else ("µs", 1000) if value < 10**6 else ("ms", 10**6)
        return f"{sign}{_decimal(value, size)}{unit}"
    seconds_ns = value % (60 * 10**9)
    minutes = value // (60 * 10**9)
    text = f"{_decimal(seconds_ns, 10**9)}s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    if minutes >= 60:
        text = f"{minutes // 60}h{text}"
    return sign + text


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")

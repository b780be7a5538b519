"""Durations: as Go writes them (`1h30m`, `500ms`), and as people say them (`About an hour`)."""

from __future__ import annotations

from sampan.types.quoting import go_quote

_UNITS_NS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a Go duration.

    Raises:
        ValueError: with Go's text, such as `time: missing unit in duration "5"`.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {go_quote(text)}")
    total_ns = 0
    while rest:
        number, rest = _split(rest, digits=True)
        unit, rest = _split(rest, digits=False)
        whole, _, fraction = number.partition(".")
        if not (whole + fraction).isdecimal():
            raise ValueError(f"time: invalid duration {go_quote(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {go_quote(text)}")
        if unit not in _UNITS_NS:
            raise ValueError(f"time: unknown unit {go_quote(unit)} in duration {go_quote(text)}")
        total_ns += int(whole + fraction) * _UNITS_NS[unit] // 10 ** len(fraction)
    return -total_ns if text.startswith("-") else total_ns


def _split(text: str, *, digits: bool) -> tuple[str, str]:
    """`text` up to where digits and points end, or begin."""
    size = 0
    while size < len(text) and (text[size] in "0123456789.") == digits:
        size += 1
    return text[:size], text[size:]


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


def human_duration(seconds: float) -> str:
    """The rough age that tables show, as go-units' `HumanDuration`: "5 minutes", "About an hour", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < 3600:
        return "About a minute" if whole < 120 else f"{whole // 60} minutes"
    hours = int(whole / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit_hours, unit_hours, name in _AGES:
        if hours < limit_hours:
            return f"{hours // unit_hours} {name}"
    return f"{hours // (24 * 365)} years"


_AGES = (
    (48, 1, "hours"),
    (24 * 7 * 2, 24, "days"),
    (24 * 30 * 2, 24 * 7, "weeks"),
    (24 * 365 * 2, 24 * 30, "months"),
)

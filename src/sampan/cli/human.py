"""Sizes, durations and times as people read and write them, to the letter as Docker prints them."""

from __future__ import annotations

_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_MULTIPLES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def significant(value: float, digits: int) -> str:
    """`%.{digits}g` as Go writes it: exponents have at least two digits."""
    return f"{value:.{digits}g}"


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return significant(size, digits) + units[index]


def decimal_size(size_bytes: float, digits: int = 4) -> str:
    """1234567 → "1.235MB"."""
    return _scaled(float(size_bytes), 1000.0, _DECIMAL_UNITS, digits)


def binary_size(size_bytes: float) -> str:
    """1048576 → "1MiB"."""
    return _scaled(float(size_bytes), 1024.0, _BINARY_UNITS, 4)


def parse_size(text: str) -> int:
    """ "512m", "1.5g", "10KiB" → bytes (binary multiples). Raises ValueError."""
    body = text.strip().lower()
    for suffix in ("ib", "b", "i"):
        if body.endswith(suffix) and len(body) > len(suffix):
            body = body[: -len(suffix)]
            break
    unit = body[-1:] if body[-1:].isalpha() else ""
    number = body.removesuffix(unit).strip() if unit else body
    if unit not in _MULTIPLES or not number.replace(".", "", 1).isdigit():
        raise ValueError(f"invalid size: '{text}'")
    return int(float(number) * 1024 ** _MULTIPLES[unit])


def parse_duration(text: str) -> int:
    """Go's durations: "1h30m", "1.5s", "300ms" → nanoseconds. Raises ValueError."""
    rest, sign = text, 1
    if rest[:1] in ("-", "+"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'invalid duration "{text}"')
    total = 0.0
    while rest:
        size = 0
        while size < len(rest) and (rest[size].isdigit() or rest[size] == "."):
            size += 1
        number, rest = rest[:size], rest[size:]
        size = 0
        while size < len(rest) and not (rest[size].isdigit() or rest[size] == "."):
            size += 1
        unit, rest = rest[:size], rest[size:]
        if not number.strip(".") or unit not in _DURATION_UNITS:
            what = f'unknown unit "{unit}" in' if number and unit else "missing unit in" if number else "invalid"
            raise ValueError(f'{what} duration "{text}"')
        total += float(number) * _DURATION_UNITS[unit]
    return sign * round(total)


def human_duration(seconds: float) -> str:
    """The rough age that tables show: "5 minutes", "About an hour", "3 weeks"."""
    seconds = int(seconds)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def ago(unix_s: float, now_s: float | None = None) -> str:
    """ "5 minutes ago"."""
    if now_s is None:
        import time

        now_s = time.time()
    return human_duration(now_s - unix_s) + " ago"


def parse_time(text: str) -> float:
    """RFC 3339 with up to nine places → Unix seconds; 0001-01-01T00:00:00Z is 0. Raises ValueError."""
    if not text or text.startswith("0001-"):
        return 0.0
    date, _, rest = text.partition("T")
    offset_s = 0
    if rest.endswith(("Z", "z")):
        rest = rest[:-1]
    elif len(rest) > 6 and rest[-6] in "+-":
        sign = 1 if rest[-6] == "+" else -1
        offset_s = sign * (int(rest[-5:-3]) * 3600 + int(rest[-2:]) * 60)
        rest = rest[:-6]
    clock, _, fraction = rest.partition(".")
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in (clock or "00:00:00").split(":"))
    whole = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    return whole - offset_s + (float("0." + fraction) if fraction else 0.0)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; `calendar` and `datetime` take longer to import than to run a command.

    Raises ValueError for a month or day that does not exist in any year.
    """
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(f"no such date: {year}-{month}-{day}")
    year -= month <= 2
    days_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + days_of_year - 719468


def local_time(unix_s: float, *, zone_name: bool = True) -> str:
    """As Go prints a local time without a fraction: "2026-01-02 15:04:05 +0100 CET"."""
    import time

    moment = time.localtime(unix_s)
    return time.strftime("%Y-%m-%d %H:%M:%S %z" + (" %Z" if zone_name else ""), moment)


def timestamp(text: str, now_s: float | None = None) -> str:
    """--since and --until: a duration back from now, Unix seconds, or a date → seconds with nine places.

    Text that is none of them is passed on: the engine refuses it in its own words.
    """
    try:
        back_ns = parse_duration(text)
    except ValueError:
        return _date_as_timestamp(text)
    if now_s is None:
        import time

        now_s = time.time()
    return f"{now_s - back_ns / 1e9:.9f}"


def _date_as_timestamp(text: str) -> str:
    if not ("-" in text and text[:4].isdigit()):
        return text
    import time

    body = text
    has_zone = body.endswith(("Z", "z")) or (len(body) > 6 and body[-6] in "+-" and body[-3] == ":" and "T" in body)
    if "T" in body and body.partition("T")[2].removesuffix("Z").count(":") == 1 and not has_zone:
        body += ":00"
    try:
        moment = parse_time(body)
    except ValueError:
        return text
    if not has_zone:
        moment += time.mktime(time.gmtime(moment)) - moment
        moment -= 3600 * (time.localtime(moment).tm_isdst > 0)
    return f"{moment:.9f}"

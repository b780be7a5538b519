"""Points in time as Go and Docker write them: RFC 3339, in UTC when written; integers of nanoseconds since 1970 inside.

`datetime` knows microseconds only and takes longer to import than a command of the CLI to run: the calendar is below.
"""

from __future__ import annotations

import time

from sampan.types.durations import parse_duration_ns

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time, which Docker shows for what never happened."""

_SECOND_NS = 1_000_000_000


def rfc3339(time_ns: int) -> str:
    """Go's RFC3339Nano in UTC: up to nine places, zeros at the end cut."""
    seconds, fraction = divmod(time_ns, _SECOND_NS)
    return f"{_seconds(seconds)}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{_seconds(seconds)}Z"


def rfc3339_fixed(time_ns: int) -> str:
    """With all nine places, as the `timestamps` option of logs prints it."""
    seconds, fraction = divmod(time_ns, _SECOND_NS)
    return f"{_seconds(seconds)}.{fraction:09d}Z"


def _seconds(unix_s: int) -> str:
    at = time.gmtime(unix_s)
    return f"{at[0]:04d}-{at[1]:02d}-{at[2]:02d}T{at[3]:02d}:{at[4]:02d}:{at[5]:02d}"


def parse_rfc3339_ns(text: str) -> int:
    """RFC 3339 as nanoseconds since 1970. A missing zone is UTC, a missing clock midnight, places after the ninth are cut.

    Raises:
        ValueError: it is no such time.
    """
    date, _, rest = text.partition("T")
    offset_s = 0
    if rest.endswith(("Z", "z")):
        rest = rest[:-1]
    elif len(rest) > 6 and rest[-6] in "+-":
        offset_s = (int(rest[-5:-3]) * 3600 + int(rest[-2:]) * 60) * (1 if rest[-6] == "+" else -1)
        rest = rest[:-6]
    clock, point, fraction = rest.partition(".")
    if point and not fraction.isdecimal():
        raise ValueError(f"no RFC 3339 time: {text!r}")
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in (clock or "00:00:00").split(":"))
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        raise ValueError(f"no such time of day: {clock}")
    whole_s = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s
    return whole_s * _SECOND_NS + int(fraction[:9].ljust(9, "0"))


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant's `days_from_civil`).

    Raises:
        ValueError: a month or day that does not exist in any year.
    """
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(f"no such date: {year}-{month}-{day}")
    year -= month <= 2
    days_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + days_of_year - 719468


def parse_until_ns(text: str, now_ns: int) -> int:
    """What `until` of a filter may be: Unix seconds, a Go duration back from `now_ns`, or RFC 3339.

    Raises:
        ValueError: none of them; the text is Docker's.
    """
    whole, _, fraction = text.partition(".")
    if whole.isdecimal() and (fraction or "0").isdecimal():
        return int(whole) * _SECOND_NS + int(fraction[:9].ljust(9, "0"))
    try:
        return now_ns - parse_duration_ns(text)
    except ValueError:
        pass  # then it may be a date
    try:
        return parse_rfc3339_ns(text)
    except ValueError:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None

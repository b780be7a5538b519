"""Times as people read and write them, to the letter as Docker prints them."""

from __future__ import annotations

from sampan.types.durations import human_duration, parse_duration_ns
from sampan.types.times import parse_rfc3339_ns


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
    return parse_rfc3339_ns(text) / 1e9


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
        back_ns = parse_duration_ns(text)
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

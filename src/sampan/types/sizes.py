"""Sizes as people read and write them, to the letter as Docker prints them (go-units)."""

from __future__ import annotations

_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def decimal_size(size_bytes: float, digits: int = 4) -> str:
    """1234567 → "1.235MB"."""
    return _scaled(float(size_bytes), 1000.0, _DECIMAL_UNITS, digits)


def binary_size(size_bytes: float) -> str:
    """1048576 → "1MiB"."""
    return _scaled(float(size_bytes), 1024.0, _BINARY_UNITS, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{units[index]}"


def parse_size_bytes(text: str) -> int:
    """ "512m", "1.5g", "10KiB": bytes, in binary multiples (go-units' `RAMInBytes`).

    Raises:
        ValueError: `invalid size: 'x'`.
    """
    body = text.strip().lower()
    for suffix in ("ib", "b", "i"):
        if body.endswith(suffix) and len(body) > len(suffix):
            body = body[: -len(suffix)]
            break
    unit = body[-1:] if body[-1:].isalpha() else ""
    number = body.removesuffix(unit).strip() if unit else body
    if unit not in _POWERS or not number.replace(".", "", 1).isdigit():
        raise ValueError(f"invalid size: '{text}'")
    return int(float(number) * 1024 ** _POWERS[unit])

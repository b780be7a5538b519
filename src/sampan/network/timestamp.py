"""Time as Docker writes it."""

from __future__ import annotations

import time


def now_rfc3339() -> str:
    """UTC with nanoseconds, as in `2026-01-02T03:04:05.678901234Z`."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"

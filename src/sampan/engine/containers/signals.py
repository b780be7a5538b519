"""Signal names and numbers as Docker's API takes them."""

from __future__ import annotations

import signal

from sampan.errors import InvalidArgument

_BY_NAME = {member.name.removeprefix("SIG"): int(member) for member in signal.Signals}
_RTMIN, _RTMAX = 34, 64  # Docker's table, which counts past the two that libc keeps for itself
_BY_NAME.update({f"RTMIN+{n}": _RTMIN + n for n in range(16)} | {f"RTMAX-{n}": _RTMAX - n for n in range(15)})
_BY_NAME.update({"RTMIN": _RTMIN, "RTMAX": _RTMAX})


def signal_number(text: str) -> int:
    """The number of `9`, `KILL`, `SIGKILL` or `SIGRTMIN+3`, in any case.

    Raises:
        InvalidArgument: no such signal (`0` is none).
    """
    if text.isdecimal():
        number = int(text) if len(text) <= 3 else 0
        if 1 <= number <= 64:
            return number
        raise InvalidArgument(f"invalid signal: {text[:100]}")
    number = _BY_NAME.get(text.upper().removeprefix("SIG"), 0)
    if not number:
        raise InvalidArgument(f"invalid signal: {text}")
    return number

"""Lists of CPUs and memory nodes as the kernel writes them: `0-3,7`."""

from __future__ import annotations

import functools


def cpuset(text: str) -> set[int]:
    """The numbers of a list such as `0-2,5`.

    Raises:
        ValueError: not such a list.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"invalid format: {text}")
        if dash and int(last) < int(first):
            raise ValueError(f"invalid format: {text}")
        if int(last or first) > 8192:
            raise ValueError(f"value is out of range, maximum is 8192: {text}")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


@functools.cache
def online(kind: str) -> set[int]:
    """The online `cpu`s or memory `node`s; CPU or node 0 if the kernel does not say."""
    try:
        with open(f"/sys/devices/system/{kind}/online", encoding="ascii") as file:
            return cpuset(file.read().strip())
    except (OSError, ValueError):
        return {0}

"""Pages that a fork left shared: where they are, and taking copies of them before they are needed (madvise(2))."""

from __future__ import annotations

from typing import Final

from sampan.linux.syscalls import SYS_MADVISE, syscall

_MADV_POPULATE_WRITE: Final = 23

Range = tuple[int, int]
"""First address and length in bytes."""


def hot_ranges() -> list[Range]:
    """Private writable memory (proc(5), `maps`) that this process shares with a forked child until one of them writes:
    of a Python process the arenas of its objects and the interpreter's own data. Most of it is written to soon, since
    objects hold their reference counts; of the C library's heap and the stack, which are left out, little is."""
    found = []
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            addresses, permissions, *_, name = line.split(maxsplit=5) if line.count(b" ") > 5 else (*line.split(), b"")
            if permissions == b"rw-p" and name.strip() not in (b"[heap]", b"[stack]"):
                first, _, end = addresses.partition(b"-")
                found.append((int(first, 16), int(end, 16) - int(first, 16)))
    return found


def populate(ranges: list[Range]) -> None:
    """Have a page of our own for each of `ranges`, at a third of what it costs to fault them in one by one.

    Only ever an optimisation: before Linux 5.14, or when memory is short, nothing happens.
    """
    for first, length in ranges:
        try:
            syscall("madvise", SYS_MADVISE, first, length, _MADV_POPULATE_WRITE)
        except OSError:
            continue

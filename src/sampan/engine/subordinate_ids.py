"""`--userns-remap`: which of the host's ids containers run on (subuid(5), subgid(5))."""

from __future__ import annotations

import fcntl
import os
import pwd
from functools import lru_cache

from sampan.errors import InvalidArgument

Mapping = dict[str, int]
DEFAULT_USER = "sampan"
"""Who owns the ranges of `--userns-remap default`. Only the ranges matter; no such user has to exist."""
_FILES = ("/etc/subuid", "/etc/subgid")
_FIRST_FREE = 100_000
_COUNT = 65_536


@lru_cache(maxsize=8)
def mappings(remap: str) -> tuple[list[Mapping], list[Mapping]]:
    """OCI's uid and gid mappings for a value of `--userns-remap`: `default`, or `user[:group]` by name or number.

    `default` gets ranges of its own in both files the first time.

    Raises:
        InvalidArgument: no such user, or one without ranges, in dockerd's words.
    """
    user, _, group = remap.partition(":")
    if remap == "default":
        user = group = DEFAULT_USER
        _give_ranges(DEFAULT_USER)
    elif user.isdecimal():
        try:
            user = pwd.getpwuid(int(user)).pw_name
        except KeyError:
            raise InvalidArgument(f"uid {user} has no entry in /etc/passwd") from None
    return _ranges(_FILES[0], user, "subuid"), _ranges(_FILES[1], group or user, "subgid")


def _ranges(path: str, name: str, kind: str) -> list[Mapping]:
    found: list[Mapping] = []
    inside = 0
    for owner, first, count in _read(path):
        if owner == name:
            found.append({"containerID": inside, "hostID": first, "size": count})
            inside += count
    if not found:
        raise InvalidArgument(
            f'no {kind} ranges found for user "{name}"', hint=f"add a line {name}:100000:65536 to {path}"
        )
    return found


def _read(path: str) -> list[tuple[str, int, int]]:
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.strip().split(":") for line in file]
    except FileNotFoundError:
        return []
    return [(row[0], int(row[1]), int(row[2])) for row in rows if len(row) == 3 and (row[1] + row[2]).isdecimal()]


def _give_ranges(name: str) -> None:
    """Append a range that nobody has to each file that lacks one. Two engines at once take turns."""
    lock = os.open(_FILES[0], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = [(first, count) for path in _FILES for _, first, count in _read(path)]
        free = max([_FIRST_FREE, *(first + count for first, count in taken)])
        for path in _FILES:
            if not any(owner == name for owner, _, _ in _read(path)):
                with open(path, "a", encoding="utf-8") as file:
                    file.write(f"{name}:{free}:{_COUNT}\n")
    finally:
        os.close(lock)

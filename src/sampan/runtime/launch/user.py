"""Who a container's process runs as: names looked up in the passwd and group files of the container's own root.

Called inside the container's root. The files are the image's: hostile until proven otherwise, so they are read with a
bound, never waited for (a FIFO), and parsed line by line with malformed lines skipped.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

from sampan.errors import InvalidArgument

_MAXIMUM_BYTES: Final = 16 << 20
_MAXIMUM_ID: Final = (1 << 31) - 1


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: list[int]
    home: str


def read_lines(path: str) -> list[list[str]]:
    """The colon-separated fields of each line; empty when the file is missing or not a regular one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return []  # not opened even: opening a device can do things (watchdogs bite, tapes rewind)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return []
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return []
        chunks, left = [], _MAXIMUM_BYTES
        while left and (chunk := os.read(descriptor, min(left, 1 << 20))):
            chunks.append(chunk)
            left -= len(chunk)
    finally:
        os.close(descriptor)
    text = b"".join(chunks).decode(errors="surrogateescape")
    return [line.strip().split(":") for line in text.splitlines() if line and not line.startswith("#")]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def resolve(name: str, *, passwd: str = "/etc/passwd", group: str = "/etc/group") -> Identity:
    """`user[:group]`, each a name or a number. A number needs no entry; a name without one is an error.

    Without `:group` the supplementary groups are those that list the user; with it there are none, as in Docker.
    """
    user_text, _, group_text = name.partition(":")
    entry = _find_user(read_lines(passwd), user_text or "0")
    uid_number = _number(user_text or "0")
    if entry is None and uid_number is None:
        raise InvalidArgument(f"unable to find user {user_text}: no matching entries in passwd file")
    uid = int(entry[2]) if entry else uid_number or 0
    gid = int(entry[3]) if entry and _number(entry[3]) is not None else 0
    home = entry[5] if entry and len(entry) > 5 and entry[5] else "/"
    groups: list[int] = []
    if group_text:
        gid = find_group(read_lines(group), group_text)
    elif entry:
        for fields in read_lines(group):
            if len(fields) > 3 and entry[0] in fields[3].split(",") and _number(fields[2]) is not None:
                groups.append(int(fields[2]))
    if not 0 <= uid <= _MAXIMUM_ID or not 0 <= gid <= _MAXIMUM_ID:
        raise InvalidArgument("uids and gids must be in range 0-2147483647")
    return Identity(uid, gid, groups, home)


def _find_user(lines: list[list[str]], text: str) -> list[str] | None:
    valid = [fields for fields in lines if len(fields) >= 4 and _number(fields[2]) is not None]
    for fields in valid:
        if fields[0] == text:
            return fields
    for fields in valid:
        if fields[2] == text:
            return fields
    return None


def find_group(lines: list[list[str]], text: str, complaint: str = "") -> int:
    """The gid of a group's name or number. `complaint` begins the error of an unknown name; Docker has two of them."""
    for fields in lines:
        if len(fields) >= 3 and fields[0] == text and _number(fields[2]) is not None:
            return int(fields[2])
    number = _number(text)
    if number is None:
        raise InvalidArgument(f"{complaint or f'unable to find group {text}'}: no matching entries in group file")
    return number


def home_of(uid: int, *, passwd: str = "/etc/passwd") -> str:
    """The home directory of `uid`, or `/`."""
    for fields in read_lines(passwd):
        if len(fields) > 5 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"

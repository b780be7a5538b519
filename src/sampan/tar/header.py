"""Encode one entry as header blocks: ustar where everything fits, with a pax header in front where it does not.

The same entry always gives the same bytes: no names of users, no access times, records sorted by key.
"""

from __future__ import annotations

from sampan.tar.entry import DIRECTORY, Entry
from sampan.tar.pax import XATTR_PREFIX

_BLOCK = 512
_MAX_OCTAL_ID = 0o7777777
_MAX_OCTAL_SIZE = 0o77777777777
END_OF_ARCHIVE = bytes(2 * _BLOCK)


def encode(entry: Entry) -> bytes:
    """The header block(s) of `entry`; its data, padded to 512 bytes, follows in the archive."""
    name = entry.name + b"/" if entry.kind == DIRECTORY and not entry.name.endswith(b"/") else entry.name
    records: dict[bytes, bytes] = {}
    prefix, short = _split(name)
    if short is None:
        records[b"path"] = name
        prefix, short = b"", name[:100]
    link = entry.linkname
    if len(link) > 100:
        records[b"linkpath"] = link
    seconds, nanoseconds = divmod(entry.mtime_ns, 1_000_000_000)
    if nanoseconds or not 0 <= seconds <= _MAX_OCTAL_SIZE:
        records[b"mtime"] = _seconds(entry.mtime_ns)
        seconds = max(0, min(seconds, _MAX_OCTAL_SIZE))
    size, uid, gid = entry.size, entry.uid, entry.gid
    if size > _MAX_OCTAL_SIZE:
        records[b"size"], size = b"%d" % size, 0
    if uid > _MAX_OCTAL_ID:
        records[b"uid"], uid = b"%d" % uid, 0
    if gid > _MAX_OCTAL_ID:
        records[b"gid"], gid = b"%d" % gid, 0
    for key, value in (entry.xattrs or {}).items():
        records[XATTR_PREFIX + key] = value
    block = _block(short, entry.mode, uid, gid, size, seconds, entry.kind, link[:100], entry, prefix)
    return (_pax(short, records) if records else b"") + block


def _block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    kind: bytes,
    link: bytes,
    entry: Entry | None,
    prefix: bytes,
) -> bytes:
    """One ustar block with its checksum."""
    major, minor = (entry.device_major, entry.device_minor) if entry else (0, 0)
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, seconds)
    tail = b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        kind,
        link.ljust(100, b"\0"),
        bytes(64),
        major,
        minor,
        prefix.ljust(167, b"\0"),
    )
    return b"%b%06o\0 %b" % (head, sum(head) + sum(tail) + 256, tail)


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """`name` as ustar's prefix and name fields; None if it fits in no way."""
    if len(name) <= 100:
        return b"", name
    if len(name) <= 256:
        slash = name.rfind(b"/", 0, 156)
        if slash > 0 and 0 < len(name) - slash - 1 <= 100:
            return name[:slash], name[slash + 1 :]
    return b"", None


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    short = (b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2])[:100]
    return _block(short, 0o644, 0, 0, len(body), 0, b"x", b"", None, b"") + body + bytes(-len(body) % _BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`"%d %s=%s\\n"`, whose number counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def _seconds(time_ns: int) -> bytes:
    sign = b"-" if time_ns < 0 else b""
    seconds, nanoseconds = divmod(abs(time_ns), 1_000_000_000)
    return (
        sign + (b"%d.%09d" % (seconds, nanoseconds)).rstrip(b"0").rstrip(b".")
        if nanoseconds
        else sign + b"%d" % seconds
    )

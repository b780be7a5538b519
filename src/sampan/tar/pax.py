"""pax extended headers: their records, and what they change in an entry (POSIX.1-2017, pax; GNU.sparse of GNU tar)."""

from __future__ import annotations

from sampan.tar.entry import REGULAR, Entry, TarError

XATTR_PREFIX = b"SCHILY.xattr."
_MAX_SIZE = (1 << 63) - 1


def parse_records(body: bytes) -> tuple[dict[bytes, bytes], list[tuple[int, int]]]:
    """The `"%d %s=%s\\n"` records of an extended header; later ones win.

    Sparse format 0.0 repeats `GNU.sparse.offset` and `GNU.sparse.numbytes`, so those come back as a list of their own.
    """
    records: dict[bytes, bytes] = {}
    regions: list[tuple[int, int]] = []
    offset: int | None = None
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 12)
        digits = body[position:space] if space > 0 else b""
        if not digits.isdigit():
            if not body[position:].strip(b"\0"):  # some writers pad with NULs
                break
            raise TarError("invalid tar header: malformed pax record")
        end = position + int(digits)
        equals = body.find(b"=", space, end)
        if end > len(body) or end <= space or equals < 0 or body[end - 1] != 10:
            raise TarError("invalid tar header: malformed pax record")
        key, value = body[space + 1 : equals], body[equals + 1 : end - 1]
        position = end
        if key == b"GNU.sparse.offset":
            offset = _decimal(value)
        elif key == b"GNU.sparse.numbytes":
            if offset is None:
                raise TarError("invalid tar header: malformed sparse records")
            regions.append((offset, _decimal(value)))
            offset = None
        else:
            records[key] = value
    return records, regions


def apply_pax(entry: Entry, records: dict[bytes, bytes], regions: list[tuple[int, int]], stored: int) -> int:
    """Let `records` override `entry`; gives the number of bytes that the member occupies in the stream.

    A sparse file of format 1.0, whose map lies in its data, is marked by an empty map and size -1 - realsize.
    """
    for key, value in records.items():
        if key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.linkname = value
        elif key == b"mtime":
            entry.mtime_ns = parse_time(value)
        elif key == b"size":
            stored = _decimal(value)
        elif key == b"uid":
            entry.uid = _decimal(value)
        elif key == b"gid":
            entry.gid = _decimal(value)
        elif key == b"uname":
            entry.uname = value
        elif key == b"gname":
            entry.gname = value
        elif key.startswith(XATTR_PREFIX):
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[key[len(XATTR_PREFIX) :]] = value
    if entry.kind == REGULAR:
        _apply_sparse(entry, records, regions)
    return stored


def _apply_sparse(entry: Entry, records: dict[bytes, bytes], regions: list[tuple[int, int]]) -> None:
    if b"GNU.sparse.name" in records:
        entry.name = records[b"GNU.sparse.name"]
    if records.get(b"GNU.sparse.major") == b"1":
        entry.sparse = []
        entry.size = -1 - _decimal(records.get(b"GNU.sparse.realsize", b""))
        return
    real = records.get(b"GNU.sparse.size", records.get(b"GNU.sparse.realsize"))
    if real is None:
        return
    if b"GNU.sparse.map" in records:
        numbers = [_decimal(number) for number in records[b"GNU.sparse.map"].split(b",")]
        if len(numbers) % 2:
            raise TarError("invalid tar header: bad sparse map")
        regions = list(zip(numbers[::2], numbers[1::2], strict=True))
    entry.sparse = regions
    entry.size = _decimal(real)


def parse_time(value: bytes) -> int:
    """Decimal seconds with an optional fraction, perhaps negative, as nanoseconds (further digits are cut)."""
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not digits.isdigit() or len(digits) > 11 or (fraction and not fraction.isdigit()):
        raise TarError("invalid tar header: bad time")
    total = int(digits) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -total if negative else total


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19 or int(value) > _MAX_SIZE:
        raise TarError("invalid tar header: bad number")
    return int(value)

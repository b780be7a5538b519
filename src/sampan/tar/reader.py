"""A streaming reader of tar archives: ustar, pax and GNU (long names, base-256 numbers, every sparse format).

It reads strictly forwards and keeps one chunk of the stream, so archives of any length can come from a pipe or a socket. It
trusts nothing: sizes, counts and lengths are bounded by `Limits` before anything is allocated for them.

    reader = TarReader(stream)
    for entry in reader:
        reader.copy_to(fd)          # or .data(), or nothing: the next round skips what is left

Formats: POSIX.1-2017 pax, "pax Interchange Format"; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files";
libarchive's tar(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol
from zlib import adler32

from sampan.tar.entry import BLOCK, CHARACTER, MAX_ID, REGULAR, Entry, Limits, TarError, printable
from sampan.tar.pax import apply_pax, parse_records

BLOCK_SIZE = 512
CHUNK_SIZE = 1 << 20
_ZERO_BLOCK = bytes(BLOCK_SIZE)
_PADDING = b"\0 "
# typeflags that carry no data whatever their size field says (ustar: "no data logical records are stored")
_DATALESS = frozenset(b"123456")


class Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" only at the end."""
        ...


class TarReader:
    """Iterate over the entries; the data of the current one is read between two rounds."""

    def __init__(self, stream: Readable, limits: Limits | None = None) -> None:
        self._read = stream.read
        self._chunk = b""
        self._position = 0
        self._limits = limits or Limits()
        self._data_left = 0  # bytes of the current member that are still in the stream
        self._padding = 0
        self._entry: Entry | None = None
        self.entries = 0
        self.size_bytes = 0

    # -- the stream -----------------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        """Exactly `size` bytes; `TarError` if the stream ends inside them."""
        position = self._position
        if len(self._chunk) - position >= size:
            self._position = position + size
            return self._chunk[position : position + size]
        parts = [self._chunk[position:]]
        missing = size - len(parts[0])
        self._chunk, self._position = b"", 0
        while missing > 0:
            chunk = self._read(CHUNK_SIZE)
            if not chunk:
                raise TarError("unexpected EOF")
            if len(chunk) > missing:
                parts.append(chunk[:missing])
                self._chunk, self._position = chunk, missing
                break
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def _more(self) -> bool:
        """Fetch the next chunk if the present one is used up; False at the end of the stream."""
        if self._position < len(self._chunk):
            return True
        self._chunk, self._position = self._read(CHUNK_SIZE), 0
        return bool(self._chunk)

    def _skip(self, size: int) -> None:
        while size > 0:
            if not self._more():
                raise TarError("unexpected EOF")
            step = min(size, len(self._chunk) - self._position)
            self._position += step
            size -= step

    def _skip_rest(self) -> None:
        """To the next header. A stream that ends within the padding of its last file is whole: the docker CLI sends such
        archives for `build -f -`, and Go's reader takes them."""
        self._skip(self._data_left)
        while self._padding and self._more():
            step = min(self._padding, len(self._chunk) - self._position)
            self._position += step
            self._padding -= step
        self._data_left = self._padding = 0

    # -- entries --------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Entry]:
        records: dict[bytes, bytes] = {}
        long_name = long_link = b""
        sparse_records: list[tuple[int, int]] = []
        specials = 0
        while True:
            if self._data_left or self._padding:
                self._skip_rest()
            header = self._next_header()
            if header is None:
                self._drain()
                return
            kind = header[156:157]
            if kind in b"xgLKX" and kind:
                specials += 1
                if specials > 64:
                    raise TarError("invalid tar header: too many extended headers before one entry")
                body = self._special_body(header)
                if kind in b"xX":
                    records, sparse_records = parse_records(body)
                elif kind == b"L":
                    long_name = body.split(b"\0", 1)[0]
                elif kind == b"K":
                    long_link = body.split(b"\0", 1)[0]
                continue
            entry = self._parse(header)
            if long_name:
                entry.name = long_name
            if long_link:
                entry.linkname = long_link
            stored = _number(header[124:136])
            if records:
                stored = apply_pax(entry, records, sparse_records, stored)
                records, sparse_records = {}, []
            long_name = long_link = b""
            specials = 0
            self._begin(entry, header, stored)
            yield entry

    def _begin(self, entry: Entry, header: bytes, stored: int) -> None:
        """Check `entry` against the limits and stand at the start of its data."""
        limits = self._limits
        if header[156] in _DATALESS or stored < 0:
            if stored < 0:
                raise TarError(f"invalid tar header: negative size of {printable(entry.name)}")
            stored = 0
        self._data_left = stored
        self._padding = -stored % BLOCK_SIZE
        if entry.sparse is not None or header[156:157] == b"S":
            self._sparse(entry, header)
        elif entry.kind == REGULAR:
            entry.size = stored
        self._entry = entry
        if len(entry.name) > limits.name_bytes or len(entry.linkname) > limits.name_bytes:
            raise TarError(f"{printable(entry.name[:100])}: file name too long")
        if not (0 <= entry.uid <= MAX_ID and 0 <= entry.gid <= MAX_ID):
            raise TarError(f"invalid tar header: bad owner of {printable(entry.name)}")
        if b"\0" in entry.name or b"\0" in entry.linkname:
            raise TarError(f"invalid tar header: NUL in the name {printable(entry.name)}")
        self.entries += 1
        self.size_bytes += entry.size
        if self.entries > limits.entries:
            raise TarError(f"the archive has more than {limits.entries} entries")
        if self.size_bytes > limits.size_bytes:
            raise TarError(f"the archive unpacks to more than {limits.size_bytes} bytes")

    def _next_header(self) -> bytes | None:
        """The next header block that is not zeros; None at the end mark or at the end of the stream."""
        zeros = 0
        while self._more():
            block = self._take(BLOCK_SIZE)
            if block != _ZERO_BLOCK:
                _verify_checksum(block)
                return block
            zeros += 1
            if zeros == 2:
                return None
        return None

    def _drain(self) -> None:
        """Read the stream to its end: digests cover what follows the end mark too."""
        while self._read(CHUNK_SIZE):
            pass
        self._chunk, self._position = b"", 0

    def _special_body(self, header: bytes) -> bytes:
        size = _number(header[124:136])
        if size < 0 or size > self._limits.special_bytes:
            raise TarError(f"invalid tar header: extended header of {size} bytes")
        body = self._take(size)
        self._skip(-size % BLOCK_SIZE)
        return body

    @staticmethod
    def _parse(header: bytes) -> Entry:
        name = header[:100].partition(b"\0")[0]
        kind = header[156:157]
        magic = header[257:265]
        if magic[:6] == b"ustar\0" and header[345]:
            name = header[345:500].partition(b"\0")[0] + b"/" + name
        if kind in b"\0007SD":  # old regular, contiguous, GNU sparse, GNU dump directory
            kind = b"5" if kind == b"D" or (kind == b"\0" and name.endswith(b"/")) else REGULAR
        elif kind not in b"0123456":
            raise TarError(f"unhandled tar header type {header[156]} of {printable(name)}")
        entry = Entry(name, kind)
        entry.mode = _number(header[100:108]) & 0o7777
        entry.uid = _number(header[108:116])
        entry.gid = _number(header[116:124])
        entry.mtime_ns = _number(header[136:148]) * 1_000_000_000
        if header[157]:
            entry.linkname = header[157:257].partition(b"\0")[0]
        if magic[:5] == b"ustar":
            if header[265]:
                entry.uname = header[265:297].partition(b"\0")[0]
            if header[297]:
                entry.gname = header[297:329].partition(b"\0")[0]
            if kind in (CHARACTER, BLOCK):
                entry.device_major = _number(header[329:337])
                entry.device_minor = _number(header[337:345])
        return entry

    # -- sparse files ---------------------------------------------------------------------------------------------------

    def _sparse(self, entry: Entry, header: bytes) -> None:
        """Fill `entry.sparse` and `entry.size`; the map is read from where its format keeps it and then checked."""
        if header[156:157] == b"S":
            entry.sparse, entry.size = self._old_gnu_map(header)
        elif entry.sparse is not None and not entry.sparse and entry.size < 0:
            entry.size = -entry.size - 1  # apply_pax marks format 1.0 like this: the map is the data's first part
            entry.sparse = self._map_in_data()
        position = stored = 0
        for offset, length in entry.sparse or ():
            if offset < position or length < 0 or offset + length > entry.size:
                raise TarError(f"invalid tar header: bad sparse map of {printable(entry.name)}")
            position = offset + length
            stored += length
        if stored != self._data_left:
            raise TarError(f"invalid tar header: sparse map and size of {printable(entry.name)} differ")

    def _old_gnu_map(self, header: bytes) -> tuple[list[tuple[int, int]], int]:
        """The map of typeflag S: 4 pairs in the header, 21 in each extension block."""
        regions: list[tuple[int, int]] = []
        block, first, count, extended = header, 386, 4, header[482]
        while True:
            for index in range(count):
                at = first + 24 * index
                if not block[at]:
                    break
                regions.append((_number(block[at : at + 12]), _number(block[at + 12 : at + 24])))
            if not extended:
                return regions, _number(header[483:495])
            if len(regions) > self._limits.special_bytes // 16:
                raise TarError("invalid tar header: sparse map too long")
            block, first, count = self._take(BLOCK_SIZE), 0, 21
            extended = block[504]

    def _map_in_data(self) -> list[tuple[int, int]]:
        """pax format 1.0: decimal numbers, one per line, padded to a block, ahead of the data."""
        text = b""
        numbers: list[int] = []
        wanted = 1
        while len(numbers) < wanted:
            if b"\n" not in text:
                if self._data_left < BLOCK_SIZE or len(text) > 64:
                    raise TarError("invalid tar header: bad sparse map")
                text += self._take(BLOCK_SIZE)
                self._data_left -= BLOCK_SIZE
                continue
            line, _, text = text.partition(b"\n")
            if not line.isdigit() or len(line) > 20:
                raise TarError("invalid tar header: bad sparse map")
            numbers.append(int(line))
            if len(numbers) == 1:
                wanted = 1 + 2 * numbers[0]
                if wanted > self._limits.special_bytes // 8:
                    raise TarError("invalid tar header: sparse map too long")
        return list(zip(numbers[1::2], numbers[2::2], strict=True))

    # -- data -----------------------------------------------------------------------------------------------------------

    def data(self) -> Iterator[memoryview]:
        """The stored bytes of the current entry (of a sparse one: without its holes), in pieces valid until the next."""
        while self._data_left:
            if not self._more():
                raise TarError("unexpected EOF")
            position = self._position
            step = min(self._data_left, len(self._chunk) - position)
            piece = memoryview(self._chunk)[position : position + step]
            self._position = position + step
            self._data_left -= step
            yield piece

    def copy_to(self, fd: int) -> None:
        """Write the current entry's content to the empty file `fd`; holes stay holes."""
        entry = self._entry
        assert entry is not None
        if entry.sparse is not None:
            self._copy_sparse(fd, entry)
            return
        size, position = self._data_left, self._position
        if 0 < size <= len(self._chunk) - position:  # the common case, without a generator
            self._position = position + size
            self._data_left = 0
            _write_all(fd, memoryview(self._chunk)[position : position + size])
            return
        for piece in self.data():
            _write_all(fd, piece)

    def _copy_sparse(self, fd: int, entry: Entry) -> None:
        regions = iter(entry.sparse or ())
        room = 0
        for piece in self.data():
            at = 0
            while at < len(piece):
                while not room:
                    offset, room = next(regions)
                    os.lseek(fd, offset, os.SEEK_SET)
                step = min(room, len(piece) - at)
                _write_all(fd, piece[at : at + step])
                at += step
                room -= step
        os.ftruncate(fd, entry.size)


def _write_all(fd: int, data: memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _number(field: bytes) -> int:
    """A numeric field: octal digits ended by NUL or space, or GNU base-256 if the first byte's top bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = 8 * len(field)
        if field[0] & 0x40:  # negative: two's complement over the whole field
            return value - (1 << bits)
        return value - (1 << (bits - 1))
    try:
        return int(field.strip(_PADDING) or b"0", 8)
    except ValueError:
        digits = field.strip(b" ").partition(b"\0")[0].strip(b" ")
        try:
            return int(digits or b"0", 8)
        except ValueError:
            raise TarError("invalid tar header: bad number") from None


def _verify_checksum(header: bytes) -> None:
    """The header's checksum is the sum of its bytes with the checksum field as spaces.

    adler32's low half is 1 + that sum modulo 65521, computed in C; only a mismatch pays for the exact sums (some old tars
    summed signed bytes).
    """
    field = header[148:156]
    expected = _number(field)
    rest = sum(field)
    if adler32(header) & 0xFFFF == (1 + expected + rest - 256) % 65521:
        return
    total = sum(header) - rest + 256
    if expected in (total, total - 256 * sum(1 for byte in header if byte > 127)):
        return
    raise TarError("invalid tar header")

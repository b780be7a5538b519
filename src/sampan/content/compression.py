"""Compressed streams: recognise and read them, write gzip deterministically.

isal inflates and deflates several times faster than zlib; where it has no wheel, the standard library takes its place.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import zstandard

from sampan.content.zstd_frames import ZstdFrames
from sampan.errors import InvalidArgument
from sampan.tar.reader import Readable
from sampan.tar.writer import Writable

try:
    from isal import igzip, isal_zlib
except ImportError:  # no wheel for this platform
    igzip = isal_zlib = None  # type: ignore[assignment]

CHUNK_SIZE = 1 << 20
_FAULTS: tuple[type[Exception], ...] = (
    *(EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zstandard.ZstdError),
    *([cast(type[Exception], isal_zlib.error)] if isal_zlib is not None else []),  # its stub is mistaken
)
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, unknown system: the same input gives the same bytes
_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
)


class DecompressionError(InvalidArgument):
    """The compressed data is damaged or cut off."""


class Decompressed:
    """A plain stream over a compressed one. `compression` says what was found: gzip, zstd, bzip2, xz or "" for none."""

    def __init__(self, raw: Readable, compression: str) -> None:
        self.compression = compression
        self._read = raw.read

    def read(self, size: int = CHUNK_SIZE, /) -> bytes:
        """Up to `size` bytes; b"" at the end. Raises `DecompressionError`."""
        try:
            return self._read(size)
        except _FAULTS as error:
            raise DecompressionError(f"invalid {self.compression or 'compressed'} data: {error}") from error
        except OSError as error:
            if error.errno is None or (type(error) is OSError and error.args and isinstance(error.args[0], str)):
                raise DecompressionError(f"invalid {self.compression} data: {error}") from error
            raise


class _Prefixed(io.RawIOBase):
    """`prefix`, then the rest of `stream`."""

    def __init__(self, prefix: bytes, stream: Readable) -> None:
        self._prefix = prefix
        self._stream = stream
        self.frames: ZstdFrames | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        data = self._next(size)
        if self.frames is not None:
            self.frames.feed(data)
        return data

    def _next(self, size: int) -> bytes:
        if self._prefix:
            wanted = len(self._prefix) if size < 0 else size
            data, self._prefix = self._prefix[:wanted], self._prefix[wanted:]
            return data
        return self._stream.read(CHUNK_SIZE if size < 0 else size)


def detect(head: bytes) -> str:
    """What the first bytes of a stream (6 are enough) say of its compression; "" if nothing that we know."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"  # a skippable frame first, as zstd:chunked writes
    return ""


def open_decompressed(stream: Readable) -> Decompressed:
    """Read `stream` plain whatever its compression; what a media type claimed plays no role."""
    head = b""
    while len(head) < 6:
        data = stream.read(6 - len(head))
        if not data:
            break
        head += data
    compression = detect(head)
    raw = _Prefixed(head, stream)
    readers = {"gzip": _gunzip, "zstd": _unzstd, "bzip2": _bunzip, "xz": _unxz}
    reader = readers.get(compression)
    return Decompressed(reader(raw) if reader else raw, compression)


def _gunzip(raw: _Prefixed) -> Readable:
    if igzip is not None:
        # _GzipReader reads from `raw` in big steps and follows members that are joined, as pigz and estargz write them
        return cast(Readable, _BigSteps(cast(Any, igzip)._GzipReader(raw, 1 << 18)))
    return gzip.GzipFile(fileobj=cast(BinaryIO, raw), mode="rb")


def _unzstd(raw: _Prefixed) -> Readable:
    raw.frames = ZstdFrames()
    # a window above 128 MiB would let a tiny frame claim gigabytes of memory
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    plain = decompressor.stream_reader(cast(BinaryIO, raw), read_across_frames=True)
    return _Whole(cast(Readable, plain), raw.frames)


class _Whole:
    """Raises EOFError where `plain` ends although the frames it comes from do not."""

    def __init__(self, plain: Readable, frames: ZstdFrames) -> None:
        self._plain = plain
        self._frames = frames

    def read(self, size: int, /) -> bytes:
        data = self._plain.read(size)
        if not data and not self._frames.complete:
            raise EOFError("unexpected EOF")
        return data


def _bunzip(raw: _Prefixed) -> Readable:
    return bz2.BZ2File(io.BufferedReader(raw, CHUNK_SIZE))


def _unxz(raw: _Prefixed) -> Readable:
    return lzma.LZMAFile(io.BufferedReader(raw, CHUNK_SIZE))


class _BigSteps:
    """`read` over a `readinto` that gives less than asked for: fills the buffer."""

    def __init__(self, raw: Any) -> None:
        self._readinto = raw.readinto

    def read(self, size: int, /) -> bytes:
        buffer = bytearray(size)
        view = memoryview(buffer)
        filled = 0
        while filled < size:
            count = self._readinto(view[filled:])
            if not count:
                break
            filled += count
        return bytes(view[:filled])


class GzipWriter:
    """Deflate what is written into `out`. Deterministic for one version of isal (or zlib); `close` ends the member."""

    def __init__(self, out: Writable, *, level: int = 2) -> None:
        """`level` 0 to 3 is isal's: 1 is the fastest that compresses well."""
        library = isal_zlib or zlib
        self._out = out
        self._crc32 = library.crc32
        self._deflate = library.compressobj(level if isal_zlib else level * 2, zlib.DEFLATED, -15)
        self._crc = 0
        self._size = 0
        out.write(_GZIP_HEADER)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._crc = self._crc32(data, self._crc)
        self._size += len(data)
        compressed = self._deflate.compress(data)
        if compressed:
            self._out.write(compressed)
        return len(data)

    def close(self) -> None:
        self._out.write(self._deflate.flush() + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


def compress_gzip(source: Readable, out: Writable, *, level: int = 2) -> int:
    """Copy `source` into `out` as one gzip member; gives the number of plain bytes."""
    writer = GzipWriter(out, level=level)
    size = 0
    for chunk in chunks(source):
        size += writer.write(chunk)
    writer.close()
    return size


def chunks(source: Readable) -> Iterator[bytes]:
    """`source` in pieces to its end."""
    while data := source.read(CHUNK_SIZE):
        yield data

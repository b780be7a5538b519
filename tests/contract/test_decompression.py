"""Every compression that a layer may have against what `open_decompressed` promises; gzip with isal and without."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
import zstandard

from sampan.content import compression
from sampan.content.compression import DecompressionError, GzipWriter, compress_gzip, detect, open_decompressed

PLAIN = random.Random(7).randbytes(300_000) + bytes(2_000_000) + b"end"


class Format(NamedTuple):
    """`name` is what `Decompressed.compression` says. `isal`: with its library, or with the standard library's."""

    name: str
    compress: Callable[[bytes], bytes]
    isal: bool = True


FORMATS = {
    "gzip": Format("gzip", gzip.compress),
    "gzip-without-isal": Format("gzip", gzip.compress, isal=False),
    "zstd": Format("zstd", zstandard.ZstdCompressor(write_checksum=True).compress),
    "zstd-without-checksum": Format("zstd", zstandard.ZstdCompressor(write_content_size=False).compress),
    "bzip2": Format("bzip2", bz2.compress),
    "xz": Format("xz", lzma.compress),
}


@pytest.fixture(params=FORMATS)
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Format:
    chosen = FORMATS[request.param]
    if not chosen.isal:
        monkeypatch.setattr(compression, "igzip", None)
        monkeypatch.setattr(compression, "isal_zlib", None)
    return chosen


class Trickle(io.RawIOBase):
    """A network: gives what it has, seldom what was asked for, and then perhaps `fault`."""

    def __init__(self, data: bytes, fault: Exception | None = None) -> None:
        self._data = data
        self._fault = fault
        self._step = 1

    def read(self, size: int = -1, /) -> bytes:
        self._step = self._step * 3 % 65_521
        wanted = self._step if size < 0 else min(size, self._step)
        data, self._data = self._data[:wanted], self._data[wanted:]
        if not data and self._fault is not None:
            raise self._fault
        return data


def read_all(data: bytes, size: int = 65_536) -> bytes:
    stream = open_decompressed(Trickle(data))
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("size", [1 << 20, 4_093])
def test_what_went_in_comes_out(codec: Format, size: int) -> None:
    packed = codec.compress(PLAIN)
    assert detect(packed[:6]) == open_decompressed(io.BytesIO(packed)).compression == codec.name
    assert read_all(packed, size) == PLAIN


def test_nothing_is_a_stream_too(codec: Format) -> None:
    assert read_all(codec.compress(b"")) == b""


def test_joined_streams_are_one(codec: Format) -> None:
    assert read_all(codec.compress(b"one ") + codec.compress(b"two")) == b"one two"


@pytest.mark.parametrize("kept", [0.001, 0.3, 0.9, 0.99999])
def test_a_stream_that_was_cut_off_is_an_error(codec: Format, kept: float) -> None:
    packed = codec.compress(PLAIN)
    with pytest.raises(DecompressionError, match=codec.name):
        read_all(packed[: max(8, int(len(packed) * kept))])


def test_a_stream_that_was_damaged_is_an_error_or_the_truth(codec: Format) -> None:
    packed = bytearray(codec.compress(b"some text, " * 1000))
    for position in range(12, len(packed), 5):
        damaged = bytes(packed[:position]) + bytes([packed[position] ^ 0x55]) + bytes(packed[position + 1 :])
        try:
            found = read_all(damaged)
        except DecompressionError:
            continue
        assert (
            codec.name == "zstd" or found == b"some text, " * 1000
        )  # zstd without checksum finds less; digests find all


def test_a_fault_of_the_source_is_not_taken_for_bad_data(codec: Format) -> None:
    packed = codec.compress(PLAIN)
    stream = open_decompressed(
        Trickle(packed[: len(packed) // 2], ConnectionResetError(104, "Connection reset by peer"))
    )
    with pytest.raises(ConnectionResetError):
        while stream.read(1 << 16):
            pass


def test_bad_data_under_isal_is_bad_data_too() -> None:
    """isal has an exception of its own for a deflate block that cannot be."""
    packed = bytearray(gzip.compress(b"some text, " * 1000))
    packed[10:14] = b"\xff\xff\xff\xff"
    with pytest.raises(DecompressionError, match="invalid gzip data"):
        read_all(bytes(packed))


def test_what_is_not_compressed_passes_through() -> None:
    for data in (b"", b"x", b"BZ", b"plain text, long enough to have a head"):
        assert read_all(data) == data
        assert open_decompressed(io.BytesIO(data)).compression == ""


@pytest.mark.parametrize("isal", [True, False])
def test_gzip_is_written_the_same_each_time_and_anyone_can_read_it(isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isal:
        monkeypatch.setattr(compression, "isal_zlib", None)
    outputs = []
    for step in (1 << 20, 7_919):
        out = io.BytesIO()
        writer = GzipWriter(out)
        for start in range(0, len(PLAIN), step):
            assert writer.write(memoryview(PLAIN)[start : start + step]) == len(PLAIN[start : start + step])
        writer.close()
        outputs.append(out.getvalue())
    assert gzip.decompress(outputs[0]) == gzip.decompress(outputs[1]) == PLAIN
    again = io.BytesIO()
    assert compress_gzip(io.BytesIO(PLAIN), again) == len(PLAIN)
    assert again.getvalue() == outputs[0]

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
from pathlib import Path

import pytest
import zstandard

from sampan.content.blobs import BlobStore, DigestMismatch
from sampan.content.compression import DecompressionError, GzipWriter, open_decompressed
from sampan.content.pipeline import Produced, ReadAhead
from sampan.errors import InvalidArgument, NotFound

CONTENT = os.urandom(100_000) + bytes(3_000_000)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "content"))


def test_write_read_delete(blobs: BlobStore) -> None:
    with blobs.begin(DIGEST, len(CONTENT)) as writer:
        writer.write(CONTENT)
        assert not blobs.has(DIGEST)
        assert writer.commit() == DIGEST
    assert blobs.has(DIGEST) and blobs.size(DIGEST) == len(CONTENT) and blobs.list() == [DIGEST]
    with blobs.open(DIGEST) as file:
        assert file.read() == CONTENT
    assert blobs.delete(DIGEST) == len(CONTENT) and blobs.delete(DIGEST) == 0
    with pytest.raises(NotFound):
        blobs.open(DIGEST)


@pytest.mark.parametrize(
    ("data", "size"), [(b"x" * len(CONTENT), None), (CONTENT[:-1], len(CONTENT)), (CONTENT + b"x", len(CONTENT))]
)
def test_lies_leave_nothing(blobs: BlobStore, data: bytes, size: int | None) -> None:
    writer = blobs.begin(DIGEST, size)
    with pytest.raises(DigestMismatch):
        writer.write(data)
        writer.commit()
    assert blobs.list() == [] and os.listdir(os.path.join(blobs.root, "ingest")) == []


def test_resume(blobs: BlobStore) -> None:
    writer = blobs.begin(DIGEST)
    writer.write(CONTENT[:1000])
    writer.suspend()
    blobs.clean()
    writer = blobs.begin(DIGEST, len(CONTENT))
    assert writer.offset == 1000
    writer.write(CONTENT[1000:])
    assert writer.commit() == DIGEST


def test_two_writers_of_one_blob(blobs: BlobStore) -> None:
    one, other = blobs.begin(DIGEST), blobs.begin(DIGEST)
    for writer in (one, other):
        writer.write(CONTENT)
    assert one.commit() == other.commit() == DIGEST


@pytest.mark.parametrize(
    "digest", ["sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "a" * 32, "x", "../" * 20]
)
def test_names_that_are_no_digests(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(InvalidArgument):
        blobs.path(digest)


def skippable(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(data)


@pytest.mark.parametrize(
    ("compress", "name"),
    [
        (bytes, ""),
        (gzip.compress, "gzip"),
        (lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]), "gzip"),
        (zstandard.compress, "zstd"),
        (skippable, "zstd"),
        (lambda data: zstandard.compress(data[:5]) + zstandard.compress(data[5:]), "zstd"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
    ],
)
def test_decompression(compress: object, name: str) -> None:
    stream = open_decompressed(io.BytesIO(compress(CONTENT)))  # type: ignore[operator]
    assert stream.compression == name
    assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == CONTENT


def checked(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, checked])
def test_damaged_and_cut_data(compress: object) -> None:
    data = compress(CONTENT)  # type: ignore[operator]
    for damaged in (data[: len(data) // 2], data[:2000] + bytes(100) + data[2100:]):
        stream = open_decompressed(io.BytesIO(damaged))
        with pytest.raises(DecompressionError):
            while stream.read(1 << 20):
                pass


@pytest.mark.parametrize(
    "data", [checked(CONTENT), skippable(CONTENT), zstandard.compress(b"x" * 10), zstandard.compress(b"")]
)
def test_every_cut_of_zstd_is_found(data: bytes) -> None:
    for length in {*range(4, 40), len(data) // 2, len(data) - 5, len(data) - 1}:
        if 6 <= length < len(data) and not (length == 11 and data[0] == 0x50):  # the skippable frame alone is whole
            stream = open_decompressed(io.BytesIO(data[:length]))
            with pytest.raises(DecompressionError):
                while stream.read(1 << 20):
                    pass


def test_gzip_is_deterministic_and_right() -> None:
    outputs = []
    for _ in range(2):
        out = io.BytesIO()
        writer = GzipWriter(out)
        for at in range(0, len(CONTENT), 70_000):
            writer.write(CONTENT[at : at + 70_000])
        writer.close()
        outputs.append(out.getvalue())
    assert outputs[0] == outputs[1] and gzip.decompress(outputs[0]) == CONTENT


class Failing:
    def __init__(self) -> None:
        self.left = 20

    def read(self, size: int, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise OSError("cut")
        return b"x" * size

    def update(self, data: bytes) -> None:
        raise ValueError("tap")


def test_read_ahead_hashes_and_passes_errors_on() -> None:
    digest = hashlib.sha256()
    stream = ReadAhead(io.BytesIO(CONTENT), digest)
    assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == CONTENT
    assert digest.hexdigest() == DIGEST[7:] and stream.size_bytes == len(CONTENT)
    with pytest.raises(OSError, match="cut"):
        stream = ReadAhead(Failing(), hashlib.sha256())
        while stream.read(1 << 20):
            pass
    stream.close()
    with pytest.raises(ValueError, match="tap"):
        stream = ReadAhead(io.BytesIO(CONTENT * 9), Failing())
        while stream.read(1 << 20):
            pass


def test_closing_early_ends_the_threads() -> None:
    stream = ReadAhead(io.BytesIO(bytes(100 << 20)), hashlib.sha256())
    stream.read(1 << 20)
    stream.close()

    def endless(out: object) -> None:
        while True:
            out.write(b"x" * 100_000)  # type: ignore[attr-defined]

    produced = Produced(endless)
    assert len(produced.read(10)) == 10
    produced.close()

"""The reader against archives of `tarfile`, of GNU tar, and against hostile ones made by hand."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.tar.entry import DIRECTORY, REGULAR, SYMLINK, Entry, Limits, TarError, clean_name
from sampan.tar.header import END_OF_ARCHIVE, encode
from sampan.tar.pax import parse_records, parse_time
from sampan.tar.reader import TarReader


class Trickle:
    """A stream that gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes, step: int) -> None:
        self._stream = io.BytesIO(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._step))


def read_all(data: bytes, limits: Limits | None = None, step: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = TarReader(Trickle(data, step), limits)
    return [(entry, b"".join(bytes(piece) for piece in reader.data())) for entry in reader]


def archive(*members: tuple[Entry, bytes]) -> bytes:
    parts = [encode(entry) + data + bytes(-len(data) % 512) for entry, data in members]
    return b"".join(parts) + END_OF_ARCHIVE


def regular(name: bytes, data: bytes = b"") -> tuple[Entry, bytes]:
    entry = Entry(name)
    entry.size = len(data)
    return entry, data


def by_tarfile(format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as out:
        for name, size in (("a", 0), ("d/" + "n" * 120, 1000), ("x" * 300, 513), ("ünï", 70_000)):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.mtime = size, 0o4755, 1000, 1_600_000_000
            out.addfile(info, io.BytesIO(bytes([size % 251]) * size))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 200
        out.addfile(link)
    return buffer.getvalue()


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 1 << 20])
def test_reads_what_tarfile_writes(format: int, step: int) -> None:
    found = read_all(by_tarfile(format), step=step)
    assert [entry.name for entry, _ in found][:3] == [b"a", b"d/" + b"n" * 120, b"x" * 300]
    assert found[3][0].name.decode() == "ünï"
    assert [len(data) for _, data in found] == [0, 1000, 513, 70_000, 0]
    assert found[1][0].mode == 0o4755 and found[1][0].uid == 1000
    assert found[4][0].kind == SYMLINK and found[4][0].linkname == b"t" * 200


def test_pax_details() -> None:
    entry = Entry(b"f")
    entry.mtime_ns, entry.uid, entry.xattrs = (
        -1_500_000_001,
        3_000_000,
        {b"security.capability": b"\0\1\n=", b"user.x": b""},
    )
    ((found, _),) = read_all(archive((entry, b"")))
    assert (found.mtime_ns, found.uid, found.xattrs) == (entry.mtime_ns, entry.uid, entry.xattrs)


@pytest.mark.parametrize("format", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_of_gnu_tar(tmp_path: Path, format: str) -> None:
    if shutil.which("tar") is None:
        pytest.skip("no GNU tar")
    source = tmp_path / "holes"
    with source.open("wb") as file:
        for number in range(30):
            file.seek(number << 20)
            file.write(b"%d" % number)
        file.truncate(40 << 20)
    options = ["--format=gnu"] if format == "gnu" else ["--format=pax", f"--sparse-version={format}"]
    subprocess.run(["tar", "-C", tmp_path, "-S", *options, "-cf", tmp_path / "s.tar", "holes"], check=True)
    with (tmp_path / "s.tar").open("rb") as stream, (tmp_path / "out").open("wb") as out:
        reader = TarReader(stream)
        for entry in reader:
            assert entry.name == b"holes" and entry.size == 40 << 20
            reader.copy_to(out.fileno())
    assert (tmp_path / "out").read_bytes() == source.read_bytes()
    assert (tmp_path / "out").stat().st_blocks * 512 < 2 << 20


def test_names_that_are_not_utf8_stay_bytes() -> None:
    names = [b"\xff\xfe", b"a\x01b", b"long\xff" * 60]
    assert [entry.name for entry, _ in read_all(archive(*map(regular, names)))] == names


# --- hostile archives


def broken(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(TarError) as caught:
        read_all(data, limits)
    return str(caught.value)


def special(kind: bytes, body: bytes, claimed: int | None = None) -> bytes:
    entry = Entry(b"special", kind)
    entry.size = len(body) if claimed is None else claimed
    return encode(entry) + body + bytes(-len(body) % 512)


def test_cut_off_archives_are_refused() -> None:
    whole = archive(regular(b"f", b"x" * 3000))
    for length in (100, 600, 3000):
        assert "unexpected EOF" in broken(whole[:length])


def test_garbage_is_refused() -> None:
    assert "invalid tar header" in broken(os.urandom(4096))
    header = bytearray(archive(regular(b"f")))
    header[0] ^= 1
    assert "invalid tar header" in broken(bytes(header))


def test_long_name_and_pax_bombs() -> None:
    assert "extended header" in broken(special(b"x", b"", claimed=2 << 20))
    assert "extended header" in broken(special(b"L", b"", claimed=(1 << 33) - 1))
    assert "too many extended headers" in broken(special(b"x", b"10 a=bcde\n") * 100)
    assert "file name too long" in broken(archive(regular(b"a/" * 2500 + b"b")))


@pytest.mark.parametrize(
    "body", [b"5 a=\n\n", b"99 a=b\n", b"a=b\n", b"-1 a=b\n", b"6 ab\n\n", b"0 a=b\n", b"3 =\n", b"7 size=1\n"]
)
def test_malformed_pax_records(body: bytes) -> None:
    with pytest.raises(TarError):
        parse_records(body)


@pytest.mark.parametrize(
    "record", [b"size=-1", b"size=99999999999999999999", b"uid=4294967295", b"mtime=1e9", b"path=a\0b"]
)
def test_bad_pax_values(record: bytes) -> None:
    length = len(record) + 4
    body = b"%d %b\n" % (length, record)
    assert len(body) == length
    broken(special(b"x", body) + archive(regular(b"f")))


def test_bombs_are_counted_before_they_explode() -> None:
    assert "more than 1 entries" in broken(archive(regular(b"a"), regular(b"b")), Limits(entries=1))
    assert "more than 10 bytes" in broken(archive(regular(b"a", b"x" * 11)), Limits(size_bytes=10))
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    size = b"GNU.sparse.realsize=99999999999999\n"
    body = records + b"%d %b" % (len(size) + 3, size)
    sparse = special(b"x", body) + archive(regular(b"bomb", b"0\n" + bytes(510)))
    assert "more than" in broken(sparse)


@pytest.mark.parametrize("map_text", [b"1\n5\n10\n", b"2\n0\n4\n2\n4\n", b"1\n-1\n2\n", b"99999999\n", b"x\n"])
def test_lying_sparse_maps(map_text: bytes) -> None:
    body = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n" + b"25 GNU.sparse.realsize=9\n"
    broken(special(b"x", body) + archive(regular(b"f", map_text.ljust(512, b"\0") + b"data")))


def test_negative_sizes_are_refused() -> None:
    header = bytearray(encode(regular(b"f", b"")[0]))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    assert "negative" in broken(bytes(header))


@pytest.mark.parametrize("name", [b"../x", b"a/../../x", b"/../x", b".."])
def test_names_that_climb_are_refused(name: bytes) -> None:
    with pytest.raises(TarError, match="outside"):
        clean_name(name)


@pytest.mark.parametrize(
    ("name", "clean"),
    [(b"/a//b/", b"a/b"), (b"./a", b"a"), (b"a/./b", b"a/b"), (b"a/../b", b"b"), (b"./", b""), (b"..a", b"..a")],
)
def test_clean_names(name: bytes, clean: bytes) -> None:
    assert clean_name(name) == clean


def test_times() -> None:
    assert parse_time(b"1.5") == 1_500_000_000
    assert parse_time(b"-1.5") == -1_500_000_000
    assert parse_time(b"1.1234567899") == 1_123_456_789


# --- fuzz


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000))
def test_arbitrary_bytes_end_in_entries_or_a_tar_error(data: bytes) -> None:
    try:
        read_all(data)
    except TarError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_archives_end_in_entries_or_a_tar_error(data: st.DataObject) -> None:
    whole = bytearray(by_tarfile(data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))[: 1 << 13])
    for _ in range(data.draw(st.integers(1, 5))):
        block = data.draw(st.integers(0, len(whole) // 512 - 1)) * 512
        at = block + data.draw(st.integers(0, 511))
        whole[at] = data.draw(st.integers(0, 255))
        header = whole[block : block + 512]  # a right checksum lets the damage in
        header[148:156] = b"        "
        whole[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    try:
        read_all(bytes(whole), Limits(size_bytes=1 << 30))
    except TarError:
        pass


names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))


@settings(max_examples=200, deadline=None)
@given(
    names,
    st.sampled_from([REGULAR, DIRECTORY, SYMLINK]),
    st.integers(0, 0o7777),
    st.integers(0, (1 << 32) - 2),
    st.integers(-(10**18), 10**18),
    st.binary(max_size=1500),
    st.dictionaries(st.sampled_from([b"user.a", b"security.capability"]), st.binary(max_size=60)),
)
def test_what_is_written_is_read(
    name: bytes, kind: bytes, mode: int, owner: int, mtime_ns: int, data: bytes, xattrs: dict[bytes, bytes]
) -> None:
    entry = Entry(name, kind)
    entry.mode, entry.uid, entry.gid, entry.mtime_ns = mode, owner, owner, mtime_ns
    entry.xattrs = xattrs or None
    entry.linkname = name if kind == SYMLINK else b""
    entry.size = len(data) if kind == REGULAR else 0
    ((found, content),) = read_all(archive((entry, data if kind == REGULAR else b"")))
    assert found.name.removesuffix(b"/") == name and found.kind == kind
    for field in ("mode", "uid", "gid", "mtime_ns", "linkname", "size", "xattrs"):
        assert getattr(found, field) == getattr(entry, field), field
    assert content == (data if kind == REGULAR else b"")
    info = tarfile.open(
        fileobj=io.BytesIO(archive((entry, data if kind == REGULAR else b""))), errors="surrogateescape"
    )
    assert os.fsencode(info.getmembers()[0].name) == name


@pytest.mark.parametrize("step", [7, 1 << 20])
@pytest.mark.parametrize("cut", [0, 1, 300, 505])
def test_an_archive_may_end_within_its_last_padding(cut: int, step: int) -> None:
    whole = archive(regular(b"a", b"1234567"), regular(b"b", b"1234567")).removesuffix(END_OF_ARCHIVE)
    assert [data for _, data in read_all(whole[: len(whole) - cut], step=step)] == [b"1234567", b"1234567"]


def test_an_archive_may_not_end_within_data() -> None:
    whole = archive(regular(b"a", b"1234567")).removesuffix(END_OF_ARCHIVE)
    with pytest.raises(TarError, match="unexpected EOF"):
        read_all(whole[: 512 + 6])

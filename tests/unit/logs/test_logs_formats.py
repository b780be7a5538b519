from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import InvalidArgument, NotSupported
from sampan.logs.decode import LocalDecoder
from sampan.logs.json_file import JsonFileWriter
from sampan.logs.local import HEADER, TRAILER, LocalWriter
from sampan.logs.reader import LogReader, read_raw
from sampan.logs.writer import open_writer, parse_size

DRIVERS = ["local", "json-file"]


def read_lines(log: dict[str, Any], **options: int) -> list[tuple[int, bytes]]:
    reader = LogReader(log, **options)
    batches = []
    while (found := reader.read()) is not None:
        batches += found
    batches += reader.finish()
    reader.close()
    return [(batch.stream, line) for batch in batches for line in batch.lines]


def spec(directory: Path, driver: str, **options: str) -> dict[str, Any]:
    return {"driver": driver, "path": str(directory / "log"), "options": options}


@pytest.mark.parametrize("driver", DRIVERS)
def test_chunks_come_back_as_lines(tmp_path: Path, driver: str) -> None:
    log = spec(tmp_path, driver)
    writer = open_writer(log)
    assert writer is not None
    writer.write(1, b"one\ntw")
    writer.write(2, b"err\n")
    writer.write(1, b"o\r\nthree\n\npart")
    writer.close()
    lines = read_lines(log)
    assert sorted(lines) == sorted(
        [(1, b"one\n"), (2, b"err\n"), (1, b"two\r\n"), (1, b"three\n"), (1, b"\n"), (1, b"part")]
    )
    assert [line for stream, line in lines if stream == 1] == [b"one\n", b"two\r\n", b"three\n", b"\n", b"part"]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("tail", [0, 1, 2, 3, 50, 999, 1000, 1001, 5000])
def test_tail(tmp_path: Path, driver: str, tail: int) -> None:
    log = spec(tmp_path, driver, **{"max-size": "10k", "max-file": "9"})
    writer = open_writer(log)
    assert writer is not None
    for number in range(0, 1000, 10):
        writer.write(1 + number // 10 % 2, b"".join(b"line %d\n" % n for n in range(number, number + 10)))
    writer.close()
    lines = [line for _, line in read_lines(log, tail=tail)]
    assert lines == [b"line %d\n" % n for n in range(max(0, 1000 - tail), 1000)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_rotation_bounds_the_log_and_keeps_order(tmp_path: Path, driver: str) -> None:
    log = spec(tmp_path, driver, **{"max-size": "4k", "max-file": "3"})
    writer = open_writer(log)
    assert writer is not None
    for number in range(2000):
        writer.write(1, b"line %06d\n" % number)
    writer.close()
    files = sorted(os.listdir(tmp_path))
    assert files == ["log", "log.1", "log.2"]
    assert sum(os.path.getsize(tmp_path / name) for name in files) <= 3 * 4000
    lines = [line for _, line in read_lines(log)]
    assert 50 < len(lines) < 2000
    assert lines == [b"line %06d\n" % number for number in range(2000 - len(lines), 2000)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_follower_misses_nothing_over_rotations(tmp_path: Path, driver: str) -> None:
    log = spec(tmp_path, driver, **{"max-size": "4k", "max-file": "3"})
    writer = open_writer(log)
    assert writer is not None
    reader = LogReader(log)
    seen: list[bytes] = []
    for number in range(1000):
        writer.write(1, b"line %06d\n" % number)
        if number % 7 == 0:
            while (found := reader.read()) is not None:
                seen += [line for batch in found for line in batch.lines]
    while (found := reader.read()) is not None:
        seen += [line for batch in found for line in batch.lines]
    assert seen == [b"line %06d\n" % number for number in range(1000)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_since_and_until(tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = spec(tmp_path, driver)
    writer = open_writer(log)
    assert writer is not None
    for second in range(10):
        monkeypatch.setattr("time.time_ns", lambda second=second: second * 1_000_000_000 + 5)
        writer.write(1, b"%d\n" % second)
    writer.close()
    found = read_lines(log, since_ns=3_000_000_005, until_ns=6_000_000_000)
    assert [line for _, line in found] == [b"3\n", b"4\n", b"5\n"]


@pytest.mark.parametrize("cut", [1, 4, 13, 20])
def test_local_torn_record_is_skipped_and_removed(tmp_path: Path, cut: int) -> None:
    path = str(tmp_path / "log")
    writer = LocalWriter(path)
    writer.write(1, b"whole\n")
    whole = os.path.getsize(path)
    writer.write(1, b"torn record\n")
    writer.close()
    os.truncate(path, os.path.getsize(path) - cut)
    assert read_lines({"driver": "local", "path": path}) == [(1, b"whole\n")]
    writer = LocalWriter(path)
    assert os.path.getsize(path) == whole
    writer.write(1, b"after\n")
    writer.close()
    assert read_lines({"driver": "local", "path": path}) == [(1, b"whole\n"), (1, b"after\n")]


def test_local_one_record_for_one_chunk(tmp_path: Path) -> None:
    writer = LocalWriter(str(tmp_path / "log"))
    chunk = b"short\n" * 10_000
    writer.write(2, chunk)
    writer.close()
    content = (tmp_path / "log").read_bytes()
    assert len(content) == HEADER.size + len(chunk) + TRAILER.size
    assert HEADER.unpack_from(content)[0] == 2


def test_a_full_disk_drops_output_and_keeps_the_file_whole(tmp_path: Path) -> None:
    writer = LocalWriter(str(tmp_path / "log"), max_size_bytes=0)
    writer.write(1, b"kept\n")
    os.close(writer._fd)
    writer._fd = os.open("/dev/full", os.O_WRONLY)
    writer.write(1, b"lost\n")
    assert writer.dropped_bytes == 5
    assert read_lines({"driver": "local", "path": str(tmp_path / "log")}) == [(1, b"kept\n")]


def test_json_file_is_docker_s_format(tmp_path: Path) -> None:
    writer = JsonFileWriter(str(tmp_path / "log"), attributes={"tag": "t"})
    writer.write(1, b'say "hi"\t\xff\n')
    writer.close()
    (line,) = (tmp_path / "log").read_text().splitlines()
    entry = json.loads(line)
    assert list(entry) == ["log", "stream", "attrs", "time"]
    assert entry["log"] == 'say "hi"\t\ufffd\n'
    assert (entry["stream"], entry["attrs"]) == ("stdout", {"tag": "t"})
    assert entry["time"].endswith("Z")


def test_json_file_cuts_long_lines_at_16_kib(tmp_path: Path) -> None:
    writer = JsonFileWriter(str(tmp_path / "log"))
    writer.write(1, b"x" * 40_000)
    writer.write(1, b"y\n")
    writer.close()
    entries = [json.loads(line)["log"] for line in (tmp_path / "log").read_text().splitlines()]
    assert [len(entry) for entry in entries] == [16384, 16384, 40_000 - 32768 + 2]


def test_json_torn_entry_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"log":"a\\n","stream":"stdout","time":"2024-01-02T03:04:05Z"}\n{"log":"b')
    writer = JsonFileWriter(str(tmp_path / "log"))
    writer.write(1, b"c\n")
    writer.close()
    assert read_lines({"driver": "json-file", "path": str(tmp_path / "log")}) == [(1, b"a\n"), (1, b"c\n")]


def test_none_writes_nothing_and_cannot_be_read() -> None:
    assert open_writer({"driver": "none", "path": "/nowhere"}) is None
    with pytest.raises(NotSupported, match="does not support reading"):
        LogReader({"driver": "none", "path": "/nowhere"})


def test_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert read_lines(spec(tmp_path, "local")) == []
    assert read_lines(spec(tmp_path, "local"), tail=5) == []


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=40)), max_size=30), st.data())
def test_splitting_loses_no_byte_wherever_reads_cut(chunks: list[tuple[int, bytes]], data: st.DataObject) -> None:
    encoded = b"".join(HEADER.pack(s, 7, len(c)) + c + TRAILER.pack(len(c)) for s, c in chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=5)))
    decoder = LocalDecoder()
    batches = []
    for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True):
        batches += list(decoder.feed(encoded[start:end]))
    batches += list(decoder.finish())
    for stream in (1, 2):
        expected = b"".join(chunk for s, chunk in chunks if s == stream)
        lines = [line for batch in batches if batch.stream == stream for line in batch.lines]
        assert b"".join(lines) == expected
        assert all(line.count(b"\n") <= 1 for line in lines)
        assert all(line.endswith(b"\n") for line in lines[:-1])


def test_raw_replay(tmp_path: Path) -> None:
    writer = LocalWriter(str(tmp_path / "log"))
    writer.write(1, b"no newline")
    writer.write(2, b"\0\xff")
    assert list(read_raw({"driver": "local", "path": str(tmp_path / "log")})) == [(1, b"no newline"), (2, b"\0\xff")]


@pytest.mark.parametrize(("text", "size_bytes"), [("10m", 10_000_000), ("-1", -1), ("1.5k", 1500), ("20", 20)])
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


def test_bad_size() -> None:
    with pytest.raises(InvalidArgument):
        parse_size("ten")

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


def read_lines(log: dict[str, Any], **options: int) -> list[tuple[int, bytes]]:
    reader = LogReader(log, **options)
    batches = []
    while (found := reader.read()) is not None:
        batches += found
    batches += reader.finish()
    reader.close()
    return [(batch.stream, line) for batch in batches for line in batch.lines]


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

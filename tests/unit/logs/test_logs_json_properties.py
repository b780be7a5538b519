"""json-file: whatever a process writes comes back, however it was cut into reads."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.json_file import MAX_LINE_BYTES, JsonFileWriter
from sampan.logs.reader import LogReader

TEXT = st.text(alphabet=st.sampled_from(["a", '"', "\\", "\n", "\t", "\x00", "\x7f", "é", "\ue000", "😀"]), max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, max_size=8))
def test_text_survives_any_cut(tmp_path_factory: object, chunks: list[str]) -> None:
    path = tmp_path_factory.mktemp("log") / "x-json.log"  # type: ignore[attr-defined]
    writer = JsonFileWriter(str(path))
    for chunk in chunks:
        writer.write(1, chunk.encode())
    writer.close()
    entries = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    assert "".join(entry["log"] for entry in entries) == "".join(chunks)
    assert all(entry["log"].count("\n") <= 1 and entry["stream"] == "stdout" for entry in entries)


def test_long_lines_among_short_ones_are_cut_as_docker_does(tmp_path: Path) -> None:
    writer = JsonFileWriter(str(tmp_path / "x"))
    writer.write(2, b"short\n" + b"l" * (2 * MAX_LINE_BYTES) + b"\nshort\n")
    writer.close()
    entries = [json.loads(line) for line in (tmp_path / "x").read_text().splitlines()]
    assert [len(entry["log"]) for entry in entries] == [6, MAX_LINE_BYTES, MAX_LINE_BYTES, 1, 6]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2]), TEXT, st.integers(1, 30)), max_size=8))
def test_the_reader_gives_back_each_stream(tmp_path_factory: object, writes: list[tuple[int, str, int]]) -> None:
    path = str(tmp_path_factory.mktemp("log") / "x-json.log")  # type: ignore[attr-defined]
    writer = JsonFileWriter(path)
    for stream, text, times in writes:
        writer.write(stream, text.encode() * times)
    writer.close()
    reader = LogReader({"driver": "json-file", "path": path})
    found = {1: b"", 2: b""}
    while (batches := reader.read()) is not None:
        for batch in batches:
            assert all(line.count(b"\n") <= 1 for line in batch.lines)
            found[batch.stream] += b"".join(batch.lines)
    reader.close()
    wanted = {
        stream: "".join(text * times for each, text, times in writes if each == stream).encode() for stream in (1, 2)
    }
    assert found == wanted

"""Every log driver against `sampan.logs.interfaces.Writer`, read back by `LogReader`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.logs.interfaces import Writer
from sampan.logs.reader import LogReader, read_raw
from sampan.logs.writer import open_writer

Log = dict[str, Any]


@pytest.fixture(params=["local", "json-file"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Log]:
    """`log(max_size="4k")`: a log of each driver in turn, not yet there."""

    def spec(**options: str) -> Log:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        return {"driver": request.param, "path": str(tmp_path / "log"), "options": named}

    return spec


def opened(log: Log) -> Writer:
    writer = open_writer(log)
    assert writer is not None
    return writer


def drain(reader: LogReader) -> list[tuple[int, bytes]]:
    found = []
    while (batches := reader.read()) is not None:
        found += [(batch.stream, line) for batch in batches for line in batch.lines]
    return found


def lines_of(log: Log, **options: int) -> list[tuple[int, bytes]]:
    reader = LogReader(log, **options)
    found = drain(reader)
    found += [(batch.stream, line) for batch in reader.finish() for line in batch.lines]
    reader.close()
    return found


def test_pieces_come_back_as_lines(log: Callable[..., Log]) -> None:
    spec = log()
    writer = opened(spec)
    for stream, data in (
        (1, b"one\ntw"), (2, b"err\n"), (1, b"o\r\nthree\n\n"), (2, "ä\u2028€".encode()), (1, b'"\\\t\x01\x7f\n'), (1, b"part"),
    ):  # fmt: skip
        writer.write(stream, data)
    writer.close()
    found = lines_of(spec)
    out = [b"one\n", b"two\r\n", b"three\n", b"\n", b'"\\\t\x01\x7f\n', b"part"]
    assert [line for stream, line in found if stream == 1] == out
    assert [line for stream, line in found if stream == 2] == [b"err\n", "ä\u2028€".encode()]


def test_the_replay_for_an_attach_has_every_byte_in_order(log: Callable[..., Log]) -> None:
    spec = log()
    writer = opened(spec)
    for stream, data in ((1, b"a\nb\n"), (2, b"x\n"), (1, b"c\n")):
        writer.write(stream, data)
    writer.close()
    replay = list(read_raw(spec))
    assert b"".join(data for stream, data in replay if stream == 1) == b"a\nb\nc\n"
    assert b"".join(data for stream, data in replay if stream == 2) == b"x\n"


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 50, 999, 1000, 1001, 5000])
def test_tail(log: Callable[..., Log], tail: int) -> None:
    spec = log(max_size="10k", max_file="9")
    writer = opened(spec)
    for number in range(0, 1000, 10):
        writer.write(1 + number // 10 % 2, b"".join(b"line %d\n" % n for n in range(number, number + 10)))
    writer.close()
    found = [line for _, line in lines_of(spec, tail=tail)]
    assert found == [b"line %d\n" % n for n in range(max(0, 1000 - tail), 1000)]


def test_since_and_until(log: Callable[..., Log], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = log()
    writer = opened(spec)
    for second in range(10):
        monkeypatch.setattr("time.time_ns", lambda second=second: second * 1_000_000_000 + 5)
        writer.write(1, b"%d\n" % second)
    writer.close()
    found = lines_of(spec, since_ns=3_000_000_005, until_ns=6_000_000_000)
    assert [line for _, line in found] == [b"3\n", b"4\n", b"5\n"]


def test_rotation_bounds_the_log_and_keeps_order(log: Callable[..., Log], tmp_path: Path) -> None:
    spec = log(max_size="4k", max_file="3")
    writer = opened(spec)
    for number in range(2000):
        writer.write(1, b"line %06d\n" % number)
    writer.close()
    files = sorted(os.listdir(tmp_path))
    assert files == ["log", "log.1", "log.2"]
    assert sum(os.path.getsize(tmp_path / name) for name in files) <= 3 * 4000
    found = [line for _, line in lines_of(spec)]
    assert 50 < len(found) < 2000
    assert found == [b"line %06d\n" % number for number in range(2000 - len(found), 2000)]


def test_a_follower_misses_nothing_over_rotations(log: Callable[..., Log]) -> None:
    spec = log(max_size="4k", max_file="3")
    writer = opened(spec)
    reader = LogReader(spec)
    seen: list[bytes] = []
    for number in range(1000):
        writer.write(1, b"line %06d\n" % number)
        if number % 7 == 0:
            seen += [line for _, line in drain(reader)]
    seen += [line for _, line in drain(reader)]
    reader.close()
    writer.close()
    assert seen == [b"line %06d\n" % number for number in range(1000)]


def test_a_log_goes_on_where_it_ended(log: Callable[..., Log]) -> None:
    """A container that is started again writes into the same log."""
    spec = log()
    for run in (b"first\n", b"second\n"):
        writer = opened(spec)
        writer.write(1, run)
        writer.close()
    assert [line for _, line in lines_of(spec)] == [b"first\n", b"second\n"]


@pytest.mark.parametrize("cut_bytes", [1, 2, 5, 13, 20])
def test_what_a_crash_cut_short_hides_nothing(log: Callable[..., Log], cut_bytes: int) -> None:
    spec = log()
    writer = opened(spec)
    writer.write(1, b"whole\n")
    writer.write(1, b"torn in the middle\n")
    writer.close()
    os.truncate(spec["path"], os.path.getsize(spec["path"]) - cut_bytes)
    assert lines_of(spec)[0] == (1, b"whole\n")
    writer = opened(spec)
    writer.write(2, b"after\n")
    writer.close()
    found = lines_of(spec)
    assert (found[0], found[-1]) == ((1, b"whole\n"), (2, b"after\n"))


def test_a_full_disk_drops_output_and_keeps_the_log_whole(
    log: Callable[..., Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = log(max_size="-1")
    writer = opened(spec)
    writer.write(1, b"kept\n")
    real, full = writer._fd, os.open("/dev/full", os.O_WRONLY)  # type: ignore[attr-defined]
    monkeypatch.setattr(writer, "_fd", full)
    writer.write(1, b"lost\n")
    assert writer.dropped_bytes > 0
    monkeypatch.setattr(writer, "_fd", real)
    os.close(full)
    writer.write(1, b"again\n")
    writer.close()
    assert [line for _, line in lines_of(spec)] == [b"kept\n", b"again\n"]


def test_a_log_that_does_not_exist_is_empty(log: Callable[..., Log]) -> None:
    assert lines_of(log()) == []
    assert lines_of(log(), tail=5) == []
    assert list(read_raw(log())) == []

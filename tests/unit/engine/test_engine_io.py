from __future__ import annotations

import pytest

from sampan.engine.containers.attach import parse_detach_keys
from sampan.engine.containers.logs import LogOptions, details, parse_time_ns, render
from sampan.engine.containers.top import parse
from sampan.errors import Internal, InvalidArgument
from sampan.logs.decode import Lines
from sampan.runtime.shim.attach import frame
from sampan.runtime.shim.execs import merged_process

BATCH = Lines(1, 1_700_000_000_000_000_007, [b"one\n", b"two\n"])


def test_one_frame_for_each_line() -> None:
    assert render(BATCH, LogOptions(), framed=True) == frame(1, b"one\n") + frame(1, b"two\n")
    assert render(BATCH, LogOptions(), framed=False) == b"one\ntwo\n"


def test_timestamps_and_details_stand_in_front_of_each_line() -> None:
    rendered = render(BATCH, LogOptions(timestamps=True, details=True), framed=False, attributes=b"a=b")
    assert rendered == b"2023-11-14T22:13:20.000000007Z a=b one\n2023-11-14T22:13:20.000000007Z a=b two\n"


def test_details_are_sorted_and_escaped() -> None:
    assert details({"b": "x y", "a": "1,2"}) == b"a=1%2C2,b=x%20y"


@pytest.mark.parametrize(("text", "time_ns"), [("", 0), ("5", 5_000_000_000), ("5.25", 5_250_000_000), ("0", 0)])
def test_times(text: str, time_ns: int) -> None:
    assert parse_time_ns(text) == time_ns


def test_bad_time() -> None:
    with pytest.raises(InvalidArgument, match='parsing "soon": invalid syntax'):
        parse_time_ns("soon")


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", b""), ("ctrl-p,ctrl-q", b"\x10\x11"), ("ctrl-a,d", b"\x01d"), ("ctrl-@", b"\0"), ("ctrl-[", b"\x1b")],
)
def test_detach_keys(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["foo-bar", "ctrl-", "ctrl-p,,", "ctrl-ä"])
def test_bad_detach_keys(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"Invalid detach keys \(.*\) provided"):
        parse_detach_keys(text)


def test_top_keeps_the_rest_of_the_line_in_the_last_column() -> None:
    output = "UID   PID  PPID CMD\nroot    7     1 sh -c sleep 1; true\nroot    8     1 other\n"
    assert parse(output, {7}) == {
        "Titles": ["UID", "PID", "PPID", "CMD"],
        "Processes": [["root", "7", "1", "sh -c sleep 1; true"]],
    }


def test_top_without_pid() -> None:
    with pytest.raises(Internal, match="Couldn't find PID field"):
        parse("UID CMD\n", set())


def test_exec_inherits_what_it_does_not_say() -> None:
    init = {"args": ["init"], "env": ["PATH=/bin", "A=1"], "cwd": "/", "user": {"uid": 5}, "terminal": True}
    merged = merged_process(init, {"args": ["sh"], "env": ["A=2", "B=3"]}, False)
    assert merged == {
        "args": ["sh"],
        "env": ["PATH=/bin", "A=2", "B=3"],
        "cwd": "/",
        "user": {"uid": 5},
        "terminal": False,
    }

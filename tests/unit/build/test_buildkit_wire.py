"""The protobuf codec: known bytes, round trips, and bytes that are no message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.build.buildkit.messages import Exporter, Packet, SolveRequest, Stat, StatusResponse, Timestamp, Vertex
from sampan.build.buildkit.wire import WireError


def test_known_bytes() -> None:
    assert Packet(type=1, ID=300).encode() == bytes.fromhex("080118ac02")
    assert Stat(path="a", mode=1 << 31 | 0o755).encode() == bytes.fromhex("0a016110ed83808008")
    assert Exporter(Type="moby", Attrs={"name": "x"}).encode() == b"\x0a\x04moby\x12\x09\x0a\x04name\x12\x01x"
    assert Packet().encode() == b""


def test_negative_numbers_are_ten_bytes_and_come_back() -> None:
    assert len(Timestamp(seconds=-1).encode()) == 11
    assert Timestamp.decode(Timestamp(seconds=-1).encode()).seconds == -1


def test_unknown_fields_are_skipped_and_wrong_kinds_too() -> None:
    data = b"\x98\x06\x05" + b"\xa2\x06\x03abc" + b"\xa9\x06" + b"\0" * 8 + b"\xb5\x06" + b"\0" * 4 + b"\x08\x07"
    assert Packet.decode(data).type == 7
    assert Packet.decode(b"\x0a\x01x").type == 0


def test_messages_nest() -> None:
    vertex = Vertex(digest="d", inputs=["a", "b"], started=Timestamp(seconds=5), cached=True)
    back = StatusResponse.decode(StatusResponse(vertexes=[vertex]).encode()).vertexes[0]
    assert (back.digest, back.inputs, back.cached, back.completed) == ("d", ["a", "b"], True, None)
    assert back.started is not None and back.started.seconds == 5


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\xff" * 11, b"\x08", b"\x0b", b"\x09\x01"])
def test_torn_messages_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        SolveRequest.decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    try:
        SolveRequest.decode(data)
    except WireError:
        pass


@given(
    path=st.text(max_size=20),
    mode=st.integers(0, 2**32 - 1),
    time_ns=st.integers(-(2**63), 2**63 - 1),
    xattrs=st.dictionaries(st.text(alphabet="abc", max_size=5), st.binary(max_size=9), max_size=3),
)
def test_round_trip(path: str, mode: int, time_ns: int, xattrs: dict[str, bytes]) -> None:
    packet = Packet(type=0, stat=Stat(path=path, mode=mode, modTime=time_ns, xattrs=xattrs))
    back = Packet.decode(packet.encode()).stat
    assert back is not None
    assert (back.path, back.mode, back.modTime, back.xattrs) == (path, mode, time_ns, xattrs)

from __future__ import annotations

import os

import pytest

from sampan import errors
from sampan.runtime import protocol


def test_message_with_descriptor_and_blob() -> None:
    ours, theirs = protocol.pair()
    read_end, write_end = os.pipe()
    protocol.send(ours, {"op": "start", "name": "ünïcode"}, blob=b"\0\1filter", fds=[write_end])
    os.close(write_end)
    message = protocol.receive(theirs)
    assert message is not None
    assert message.body == {"op": "start", "name": "ünïcode"}
    assert message.blob == b"\0\1filter"
    (received,) = message.fds
    assert not os.get_inheritable(received)
    os.write(received, b"through")
    assert os.read(read_end, 100) == b"through"
    protocol.close_all([received, read_end])
    ours.close()
    theirs.close()


def test_a_message_beyond_a_datagram_travels_in_memory() -> None:
    ours, theirs = protocol.pair()
    body = {"env": ["X" * 1000] * 2000}
    protocol.send(ours, body, blob=b"b" * 100_000)
    message = protocol.receive(theirs)
    assert message is not None
    assert (message.body, message.blob, message.fds) == (body, b"b" * 100_000, [])
    ours.close()
    theirs.close()


def test_end_of_conversation() -> None:
    ours, theirs = protocol.pair()
    ours.close()
    assert protocol.receive(theirs) is None
    theirs.close()


@pytest.mark.parametrize("data", [b"x", b"\0\xff\0\0\0{}", b"\0\2\0\0\0[]", b"\1\0\0\0\0"])
def test_malformed_datagrams_are_refused(data: bytes) -> None:
    with pytest.raises(errors.Internal, match="malformed message"):
        protocol.parse(protocol.Raw(data, []))


def test_errors_keep_kind_and_message() -> None:
    error = protocol.error_from(protocol.error_body(errors.NotFound("No such thing", hint="look elsewhere")))
    assert isinstance(error, errors.NotFound)
    assert (error.message, error.hint, error.status) == ("No such thing", "look elsewhere", 404)


def test_subclass_of_a_room_travels_as_its_public_ancestor_with_its_exit_code() -> None:
    class LaunchError(errors.CommandNotFound):
        exit_code = 126

    error = protocol.error_from(protocol.error_body(LaunchError("exec failed")))
    assert type(error) is errors.CommandNotFound
    assert error.exit_code == 126


def test_foreign_errors_and_unknown_kinds_become_internal() -> None:
    assert type(protocol.error_from(protocol.error_body(ValueError("x")))) is errors.Internal
    assert type(protocol.error_from({"kind": "annotations", "message": "x"})) is errors.Internal

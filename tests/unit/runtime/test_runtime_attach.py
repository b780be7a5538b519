from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from sampan.runtime.shim.attach import HIGH_WATER_BYTES, STDERR, STDOUT, ClientOptions, EscapeFilter, frame
from sampan.runtime.shim.loop import Loop
from sampan.runtime.shim.stdio import ProcessIO, make_pipes


class Recorder:
    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []

    def write(self, stream: int, data: bytes) -> None:
        self.records.append((stream, data))

    def close(self) -> None:
        pass


class Rig:
    """A process's stdio whose process is the test."""

    def __init__(self, *, open_stdin: bool = True, stdin_once: bool = True) -> None:
        self.loop = Loop()
        self.log = Recorder()
        self.io = ProcessIO(self.loop, tty=False, open_stdin=open_stdin, stdin_once=stdin_once, log=self.log)
        pipes = make_pipes(open_stdin)
        self.stdin, self.stdout, self.stderr = pipes.child_stdin, pipes.child_stdout, pipes.child_stderr
        self.io.adopt_pipes(pipes.stdin, pipes.stdout, pipes.stderr)
        self.io.start()

    def attach(self, options: ClientOptions, backlog: Iterator[tuple[int, bytes]] | None = None) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.io.attach(theirs.detach(), options, backlog)
        ours.setblocking(False)
        return ours

    def turn(self, until: Callable[[], bool] = lambda: False, seconds: float = 0.05) -> None:
        """Run the loop for a while, or until a condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.loop.call_later(0.002, lambda: None)
            self.loop.run_once()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


def test_output_is_framed_and_logged(rig: Rig) -> None:
    client = rig.attach(ClientOptions())
    os.write(rig.stdout, b"out\n")
    rig.turn()
    os.write(rig.stderr, b"err\n")
    rig.turn()
    assert receive(client) == frame(STDOUT, b"out\n") + frame(STDERR, b"err\n")
    assert rig.log.records == [(STDOUT, b"out\n"), (STDERR, b"err\n")]


def test_a_client_gets_only_the_streams_it_asked_for(rig: Rig) -> None:
    client = rig.attach(ClientOptions(stdout=False, framed=False))
    os.write(rig.stdout, b"out\n")
    os.write(rig.stderr, b"err\n")
    rig.turn()
    assert receive(client) == b"err\n"


def test_input_half_close_and_preload_reach_the_process_in_order(rig: Rig) -> None:
    client = rig.attach(ClientOptions(stdin=True, preload=b"first "))
    client.send(b"second")
    client.shutdown(socket.SHUT_WR)
    rig.turn()
    assert os.read(rig.stdin, 100) == b"first second"
    assert os.read(rig.stdin, 100) == b""
    os.write(rig.stdout, b"still\n")
    rig.turn()
    assert receive(client) == frame(STDOUT, b"still\n")


def test_half_close_of_an_output_only_client_changes_nothing(rig: Rig) -> None:
    client = rig.attach(ClientOptions())
    client.shutdown(socket.SHUT_WR)
    rig.turn()
    os.write(rig.stdout, b"on\n")
    rig.turn()
    assert receive(client) == frame(STDOUT, b"on\n")


def test_half_close_detaches_where_stdin_outlives_its_client() -> None:
    rig = Rig(stdin_once=False)
    client = rig.attach(ClientOptions(stdin=True))
    client.send(b"x")
    client.shutdown(socket.SHUT_WR)
    rig.turn(lambda: not rig.io.clients)
    assert os.read(rig.stdin, 10) == b"x"
    client.setblocking(True)
    assert client.recv(10) == b""
    os.set_blocking(rig.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(rig.stdin, 10)


def test_a_slow_client_stalls_the_process_with_bounded_memory(rig: Rig) -> None:
    client = rig.attach(ClientOptions(framed=False))
    os.set_blocking(rig.stdout, False)
    written = 0
    for _ in range(400):
        try:
            written += os.write(rig.stdout, b"x" * 65536)
        except BlockingIOError:
            pass
        rig.turn(seconds=0.002)
    assert written < HIGH_WATER_BYTES + (1 << 20)
    received = 0
    deadline = time.monotonic() + 5
    while received < written and time.monotonic() < deadline:
        rig.turn(seconds=0.002)
        received += len(receive(client))
    assert received == written


def test_a_client_that_disappears_is_forgotten_and_unblocks(rig: Rig) -> None:
    client = rig.attach(ClientOptions())
    rig.attach(ClientOptions()).close()
    client.close()
    rig.turn(lambda: not rig.io.clients, seconds=1)
    assert rig.io.clients == []
    os.write(rig.stdout, b"alone\n")
    rig.turn()
    assert rig.log.records == [(STDOUT, b"alone\n")]


def test_backlog_first_then_the_live_stream_without_gap_or_repetition(rig: Rig) -> None:
    def backlog() -> Iterator[tuple[int, bytes]]:
        position = 0
        while position < len(rig.log.records):
            yield rig.log.records[position]
            position += 1

    os.write(rig.stdout, b"old\n")
    rig.turn()
    client = rig.attach(ClientOptions(framed=False), backlog())
    os.write(rig.stdout, b"new\n")
    rig.turn()
    assert receive(client) == b"old\nnew\n"


def test_finish_flushes_then_gives_a_clean_end(rig: Rig) -> None:
    client = rig.attach(ClientOptions(stdin=True, framed=False))
    client.send(b"unread input")
    os.write(rig.stdout, b"last words")
    rig.io.drain()
    rig.io.finish_clients()
    rig.turn(lambda: not rig.io.clients, seconds=1)
    assert receive(client) == b"last words"
    assert client.recv(10) == b""


@pytest.mark.parametrize(
    ("pieces", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"ab\x10", b"\x11rest"], b"ab", True),
        ([b"\x10x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10\x10\x11", False),
        ([b"\x10", b"\x10", b"y"], b"\x10\x10y", False),
    ],
)
def test_detach_keys(pieces: list[bytes], passed: bytes, detached: bool) -> None:
    escape = EscapeFilter(b"\x10\x11")
    results = [escape.feed(piece) for piece in pieces]
    assert b"".join(result[0] for result in results) == passed
    assert any(result[1] for result in results) is detached

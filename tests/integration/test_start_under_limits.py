"""A container with few descriptors of its own starts, however many of them are on their way in other processes."""

from __future__ import annotations

import socket

from tests.conftest import EngineProcess


def test_start_with_a_terminal_and_a_low_limit(engine: EngineProcess) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(ours, [b"x"], [0] * 200)  # never received: they count for all of this user's processes
        options = ["--network", "none", "--ulimit", "nofile=32:32"]
        for more in ([], ["-t"]):
            done = engine.sampan("run", "--rm", *options, *more, "busybox", "echo", "ok")
            assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr

"""sampand as systemd starts it: socket activation, readiness, and no descriptor of the starter's in longer-lived processes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import BIN, EngineProcess

_LISTEN_FD = 3
_STRAY_FD = 9

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def activated() -> Iterator[EngineProcess]:
    """A sampand on a socket that it got as descriptor 3, with one more descriptor that it never asked for."""
    with tempfile.TemporaryDirectory(prefix="sampan-act-", dir="/var/tmp") as root:
        engine = EngineProcess(root)
        os.mkdir(engine.exec_root)
        with socket.socket(socket.AF_UNIX) as api, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            api.bind(engine.socket)
            api.listen()
            notifications.bind(f"{root}/notify")
            notifications.settimeout(15)
            pid = _start(engine, api, f"{root}/notify")
            try:
                assert _ready(notifications), engine.log_tail()
                yield engine
            finally:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)


def _ready(notifications: socket.socket) -> bool:
    try:
        return notifications.recv(64) == b"READY=1"
    except TimeoutError:
        return False


def _start(engine: EngineProcess, api: socket.socket, notify: str) -> int:
    roots = ["--data-root", engine.data_root, "--exec-root", engine.exec_root]
    environment = {**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": notify}
    # The PID that LISTEN_PID must name is the program's own.
    script = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
    with open(engine.log, "ab") as log, open(f"{engine.root}/stray", "w") as stray:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", script, str(BIN / "sampand"), *roots, "-H", "fd://"],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, api.fileno(), 103),
                (os.POSIX_SPAWN_DUP2, stray.fileno(), _STRAY_FD),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                (os.POSIX_SPAWN_DUP2, 103, _LISTEN_FD),
                (os.POSIX_SPAWN_CLOSE, 103),
            ],
        )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_serves_the_socket_it_was_given_and_keeps_it_to_itself(activated: EngineProcess) -> None:
    assert activated.api("GET", "/_ping")[0] == 200
    pid = int(Path(f"{activated.exec_root}/sampand.pid").read_text())
    own = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (_LISTEN_FD, _STRAY_FD)}
    assert f"{activated.root}/stray" in own
    zygotes = _children(pid)
    assert zygotes
    for child in zygotes:
        assert own.isdisjoint(os.readlink(path) for path in Path(f"/proc/{child}/fd").iterdir())

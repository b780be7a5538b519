"""`attach/ws`, as a browser would use it."""

from __future__ import annotations

import os
import socket

import pytest
from tests.conftest import EngineProcess
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, RejectConnection, Request


class Browser:
    def __init__(self, engine: EngineProcess, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(engine.socket)
        self.speaker = WSConnection(ConnectionType.CLIENT)
        self.sock.sendall(self.speaker.send(Request(host="localhost", target=path)))
        self.status = self.next()

    def next(self) -> object:
        while True:
            for event in self.speaker.events():
                return event
            self.speaker.receive_data(self.sock.recv(65536) or None)

    def send(self, event: BytesMessage | Ping | CloseConnection) -> None:
        self.sock.sendall(self.speaker.send(event))

    def read(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            event = self.next()
            assert isinstance(event, BytesMessage), event
            got += bytes(event.data)
        return got


def created(engine: EngineProcess, **config: object) -> str:
    status, body = engine.api("POST", "/containers/create", {"Image": "busybox", **config})
    assert status == 201, body
    return str(body["Id"])


def test_bytes_both_ways_and_the_end(engine: EngineProcess) -> None:
    made = created(engine, Cmd=["sh", "-c", "head -c 100005; echo end"], OpenStdin=True, StdinOnce=True)
    browser = Browser(engine, f"/v1.45/containers/{made}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1")
    assert isinstance(browser.status, AcceptConnection)
    engine.api("POST", f"/containers/{made}/start")
    data = os.urandom(100005)
    browser.send(BytesMessage(data=data[:5]))
    browser.send(Ping(payload=b"there?"))
    browser.send(BytesMessage(data=data[5:]))
    events: list[object] = []
    got = b""
    while len(got) < len(data) + 4:
        event = browser.next()
        if isinstance(event, BytesMessage):
            got += bytes(event.data)
        else:
            events.append(event)
    assert got == data + b"end\n"
    assert any(isinstance(event, Pong) for event in events)
    assert isinstance(browser.next(), CloseConnection)


def test_errors_are_json(engine: EngineProcess) -> None:
    assert engine.api("GET", "/containers/nope/attach/ws")[0] == 404
    made = created(engine, Cmd=["true"])
    status, body = engine.api("GET", f"/containers/{made}/attach/ws")
    assert status == 400 and "websocket" in body["message"]


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x82\xff" + b"\xff" * 8], ids=["noise", "endless"])
def test_garbage_ends_the_connection_and_not_the_engine(engine: EngineProcess, garbage: bytes) -> None:
    made = created(engine, Cmd=["sleep", "60"], OpenStdin=True)
    browser = Browser(engine, f"/containers/{made}/attach/ws?stream=1&stdin=1&stdout=1")
    assert not isinstance(browser.status, RejectConnection)
    browser.sock.sendall(garbage)
    try:
        browser.sock.recv(10)
    except OSError:
        pass
    assert engine.api("GET", "/_ping")[0] == 200

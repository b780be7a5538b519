"""The client's HTTP against scripted bytes: no engine, one thread that plays it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.client import hosts, streams, wire
from sampan.client.engine import Engine, encode_query, quote, quote_path
from sampan.client.transport import ConnectionLost, EngineUnreachable, Hijacked
from sampan.errors import Conflict, Internal, InvalidArgument, NotFound

Play = Callable[..., Engine]
PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nContent-Length: 0\r\n\r\n"


class Player:
    """Answers each request on each connection with the next script; remembers the requests."""

    def __init__(self, path: str, scripts: list[list[bytes]]) -> None:
        self.requests: list[bytes] = []
        self._scripts = scripts
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # the test has ended before it came to this script
            for answer in script:
                self.requests.append(self._request(connection))
                try:
                    connection.sendall(answer)
                except BrokenPipeError:
                    break
            connection.close()

    def _request(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data or (b"chunked" in data and not data.endswith(b"0\r\n\r\n")):
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., tuple[Engine, Player]]]:
    players: list[Player] = []

    def start(*scripts: list[bytes]) -> tuple[Engine, Player]:
        path = str(tmp_path / f"{len(players)}.sock")
        players.append(Player(path, list(scripts)))
        return Engine(f"unix://{path}"), players[-1]

    yield start
    for player in players:
        player.close()


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status.encode(),
        len(body),
        body,
    )


def test_one_connection_serves_many_requests(play: Any) -> None:
    engine, player = play([PING, answer(b'{"a":1}'), answer(b"[]")])
    assert engine.call("GET", "/info") == {"a": 1}
    assert engine.call("GET", "/images/json", {"all": True}) == []
    assert [request.split(b" HTTP")[0] for request in player.requests] == [
        b"HEAD /_ping",
        b"GET /v1.45/info",
        b"GET /v1.45/images/json?all=1",
    ]


def test_a_newer_engine_is_spoken_to_in_our_version(play: Any) -> None:
    engine, _ = play([PING.replace(b"1.45", b"1.99")])
    assert engine.version == "1.50"
    assert engine.server_version == "1.99"


def test_a_closed_idle_connection_is_replaced(play: Any) -> None:
    engine, _ = play([PING], [answer(b"{}")])
    assert engine.version == "1.45"
    assert engine.call("GET", "/info") == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [("404 Not Found", NotFound), ("409 Conflict", Conflict), ("400 Bad", InvalidArgument), ("599 X", Internal)],
)
def test_errors_become_the_tree(play: Any, status: str, kind: type[Exception]) -> None:
    engine, _ = play([PING, answer(b'{"message":"what happened"}', status), answer(b"plain text\n", status)])
    for text in ("what happened", "plain text"):
        with pytest.raises(kind, match=text):
            engine.call("GET", "/x")


def test_chunked_answers(play: Any) -> None:
    body = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nTrailer: x\r\n\r\n'
    engine, _ = play([PING, body, answer(b"2")])
    assert engine.call("GET", "/x") == {"a": 1}
    assert engine.call("GET", "/y") == 2


def test_chunked_requests(play: Any) -> None:
    engine, player = play([PING, answer(b"{}")])
    engine.call("POST", "/build", None, iter([b"abc", b"", b"de"]))
    assert player.requests[1].endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_broken_answers(play: Any, broken: bytes) -> None:
    engine, _ = play([PING, broken], [broken])
    with pytest.raises(ConnectionLost):
        engine.call("GET", "/x")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable) as caught:
        Engine(f"unix://{tmp_path}/none").call("GET", "/x")
    assert "sudo sampand" in caught.value.hint


def test_hijack_keeps_what_came_with_the_head(play: Any) -> None:
    head = (
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
        b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly"
    )
    engine, player = play([PING], [head])
    link = engine.hijack("/containers/x/attach", {"stream": True})
    assert isinstance(link, Hijacked)
    assert link.multiplexed
    assert (link.preload + link.sock.recv(10)).startswith(b"early")
    assert b"Upgrade: tcp\r\n" in player.requests[1]
    link.sock.close()


def test_refused_hijack(play: Any) -> None:
    engine, _ = play([PING], [b"HTTP/1.1 404 Not Found\r\nContent-Type: x\r\n\r\nNo such container: x\r\n"])
    with pytest.raises(NotFound, match="No such container: x"):
        engine.hijack("/containers/x/attach")


def test_queries() -> None:
    assert encode_query({"a": None, "b": False, "c": {}}) == ""
    assert encode_query({"t": ["x:1", "y"], "n": 5, "all": True}) == "?t=x%3A1&t=y&n=5&all=1"
    assert encode_query({"filters": {"name": ["a b"]}}) == "?filters=%7B%22name%22%3A%7B%22a%20b%22%3Atrue%7D%7D"
    assert quote("é/") == "%C3%A9%2F"
    assert quote_path("reg:5/a@sha256:x y") == "reg:5/a@sha256:x%20y"


@pytest.mark.parametrize(
    ("text", "path", "host", "port"),
    [
        ("unix:///x.sock", "/x.sock", "", 0),
        ("/x.sock", "/x.sock", "", 0),
        ("tcp://h:5", "", "h", 5),
        ("tcp://h", "", "h", 2375),
        ("h:7", "", "h", 7),
        ("tcp://[::1]:9/", "", "::1", 9),
    ],
)
def test_hosts(text: str, path: str, host: str, port: int) -> None:
    address = hosts.parse_host(text)
    assert (address.path, address.host, address.port) == (path, host, port)


@pytest.mark.parametrize("text", ["ftp://x", "tcp://h:x", "tcp://h:99999"])
def test_hosts_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        hosts.parse_host(text)


def test_wire_is_json() -> None:
    import json

    for value in (None, True, 1.5, -3, 'é\n"', [], {}, {"a": [1, {"b": None}]}, "\U0001f600"):
        assert wire.loads(json.dumps(value)) == json.loads(json.dumps(value))
        assert json.loads(wire.dumps(value)) == value
    for wrong in ("", "{", "[1,]", "1 2", "nul"):
        with pytest.raises(ValueError):
            wire.loads(wrong)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9, 1000])
def test_frames_in_pieces_of_any_size(size: int) -> None:
    frames = [(1, b"out"), (2, b"err" * 10), (1, b""), (1, b"x" * 100)]
    data = b"".join(bytes([stream, 0, 0, 0]) + len(body).to_bytes(4, "big") + body for stream, body in frames)
    found = {1: b"", 2: b""}
    for stream, payload in streams.frames(data[i : i + size] for i in range(0, len(data), size)):
        found[stream] += payload
    assert found == {1: b"out" + b"x" * 100, 2: b"err" * 10}


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_json_messages_in_pieces_of_any_size(size: int) -> None:
    data = '{"a":"}\\n"}\r\n{"b":"é{"}\n{"c":{}}{"d":1}'.encode()
    pieces = (data[i : i + size] for i in range(0, len(data), size))
    assert list(streams.json_messages(pieces)) == [{"a": "}\n"}, {"b": "é{"}, {"c": {}}, {"d": 1}]


def test_a_message_is_given_out_as_soon_as_it_is_there() -> None:
    seen = []

    def pieces() -> Iterator[bytes]:
        yield b'{"a":1}\r\n'
        assert seen == [{"a": 1}]
        yield b'{"b":2}'

    for message in streams.json_messages(pieces()):
        seen.append(message)
    assert len(seen) == 2


def test_an_unreachable_engine_names_where_its_address_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.delenv("SAMPAN_HOST", raising=False)
    with pytest.raises(EngineUnreachable) as caught:
        Engine("unix:///nonexistent/docker.sock").call("GET", "/_ping")
    assert "DOCKER_HOST" in caught.value.hint

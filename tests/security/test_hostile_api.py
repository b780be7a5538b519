"""Attacks on the API: wrong types everywhere, absurd queries and paths, clients that never end or never read."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.conftest import EngineProcess, _UnixConnection

from sampan.daemon.routes import ROUTES
from sampan.spec import requests

WRONG = [None, True, -1, 1.5, 2**70, "x", "\0", "../../etc", "a" * 20_000, [None], [[]], {"x": None}, {"": 1}]
RAW = [
    b"null", b"[]", b"1", b'"x"', b"NaN", b'{"a":NaN}', b"{", b"\xff\xfe", b'{"Image":"\xff"}', b"[" * 100_000,
    b'{"a":' * 100_000, b"{}{}", b'{"Memory":' + b"9" * 5000 + b"}", b'{"Image":"\\ud800"}',
]  # fmt: skip
BODIES = {
    "/containers/create": requests.CREATE,
    "/containers/attacked/update": requests.UPDATE,
    "/networks/create": requests.NETWORK_CREATE,
    "/networks/bridge/connect": requests.NETWORK_CONNECT,
    "/networks/bridge/disconnect": requests.NETWORK_DISCONNECT,
    "/volumes/create": requests.VOLUME_CREATE,
    "/containers/attacked/exec": {**requests.RUN_CONFIG, "DetachKeys": "", "Privileged": "", "ConsoleSize": [""]},
    "/commit?container=attacked": requests.RUN_CONFIG,
}
QUERIES = ["", "-1", "9" * 30, "9" * 5000, "1e9", "nan", "true", "{", "[]", '{"a":[1]}', '{"label":null}', '{"id":["*["]}',
           "[" * 3000, '{"name":["("]}', "\0", "../../etc/passwd", "a" * 60_000, "\r\nX-A: 1", "٣", "1_0"]  # fmt: skip
NAMES = ["..", "%2e%2e", "..%2f..%2fetc", "%2fetc%2fpasswd", "a%00b", "%ff%fe", "a" * 5000, "a%0d%0aX:%20y", "%20", "%zz",
         "sha256:", "@", "a:b:c", "..%2fattacked", "%25", "*", "-"]  # fmt: skip
PARAMETERS = ["filters", "all", "limit", "size", "t", "signal", "name", "h", "w", "tail", "since", "until", "path", "stream",
              "ps_args", "condition", "force", "v", "tag", "repo", "changes", "names", "buildargs", "labels", "cachefrom",
              "ulimits", "memory", "shmsize", "dockerfile", "target", "type", "noOverwriteDirNonDir"]  # fmt: skip
STREAMS = re.compile(
    r"/(events|restart|bootstrap|attach|attach/ws|stats|wait|images/search|session|grpc|top|push|distribution/.*)$"
)
# words of Python that no user should read
PYTHON = re.compile(
    rb"internal error|Traceback|object has no|not iterable|NoneType|KeyError|TypeError|ValueError|codec can"
)


class Client:
    """One connection that is kept: thousands of requests go through it."""

    def __init__(self, engine: EngineProcess) -> None:
        self._engine = engine
        self._connection: http.client.HTTPConnection = _UnixConnection(engine.socket)

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        for _ in range(2):
            try:
                self._connection.request(method, path, body=body, headers=headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read(1 << 16)
            except (http.client.HTTPException, ConnectionError):
                self._connection.close()  # the engine closes after what it refused to read
        raise AssertionError(f"no answer to {method} {path[:200]}")

    def check(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        status, answer = self.send(method, path, body)
        shown = f"{method} {path[:200]} {(body or b'')[:200]!r} -> {status} {answer[:300]!r}"
        assert not PYTHON.search(answer), shown
        assert 100 < status < 600, shown
        return status, answer


@pytest.fixture
def client(engine: EngineProcess) -> Client:
    status, _ = engine.api("POST", "/containers/create?name=attacked", {"Image": "busybox", "Cmd": ["sleep", "9"]})
    assert status == 201
    return Client(engine)


def _fields(shape: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field of a shape, list items and map values included."""
    if isinstance(shape, list):
        yield (*path, 0)
        yield from _fields(shape[0], (*path, 0))
    elif isinstance(shape, dict):
        for key, value in shape.items():
            here = (*path, "x" if key == "*" else key)
            yield here
            yield from _fields(value, here)


def _with(path: tuple[str | int, ...], value: Any) -> Any:
    for key in reversed(path):
        value = [value] if key == 0 else {key: value}
    return value


@pytest.mark.parametrize("endpoint", BODIES)
def test_every_field_of_every_wrong_type(client: Client, endpoint: str) -> None:
    for path in _fields(BODIES[endpoint]):
        for wrong in WRONG:
            body = _with(path, wrong)
            if endpoint == "/containers/create":
                body = {"Image": "busybox", **body}
            status, answer = client.check("POST", endpoint, json.dumps(body).encode())
            _undo(client, endpoint, status, answer)


def _undo(client: Client, endpoint: str, status: int, answer: bytes) -> None:
    if status != 201:
        return
    made = json.loads(answer)
    if endpoint == "/containers/create":
        client.check("GET", f"/containers/{made['Id']}/json")
        client.check("DELETE", f"/containers/{made['Id']}?force=1&v=1")
    elif endpoint == "/networks/create":
        client.check("DELETE", f"/networks/{made['Id']}")
    elif endpoint == "/volumes/create":
        client.check("DELETE", f"/volumes/{made['Name']}")
    elif endpoint.startswith("/commit"):
        client.check("DELETE", f"/images/{made['Id']}?force=1")


@pytest.mark.parametrize("endpoint", BODIES)
def test_bodies_that_are_no_json_of_ours(client: Client, endpoint: str) -> None:
    for raw in RAW:
        status, answer = client.check("POST", endpoint, raw)
        _undo(client, endpoint, status, answer)


def test_unknown_case_of_a_field_is_no_way_around(client: Client) -> None:
    status, answer = client.check("POST", "/containers/create", b'{"image":"busybox","hostconfig":{"links":[1]}}')
    assert (status, b"HostConfig.Links of type string" in answer) == (400, True)


def test_absurd_queries(client: Client) -> None:
    for route in ROUTES:
        if (
            STREAMS.search(route.pattern)
            or route.method == "DELETE"
            or route.pattern.endswith(("/prune", "/start", "/create"))
        ):
            continue
        path = re.sub(r"\{\w+(:[^}]*)?\}", "attacked", route.pattern)
        for name in PARAMETERS:
            for value in QUERIES if name in ("filters", "signal", "h", "limit", "buildargs", "t") else QUERIES[3:5]:
                body = b"" if route.method in ("POST", "PUT") else None
                client.check(route.method, f"{path}?{name}={quote(value, safe='')}", body)


def test_names_that_want_out(client: Client) -> None:
    for route in ROUTES:
        if "{" not in route.pattern:
            continue
        for name in NAMES:
            path = re.sub(r"\{\w+(:[^}]*)?\}", lambda _, n=name: n, route.pattern)
            body = b"{}" if route.method in ("POST", "PUT") and not STREAMS.search(route.pattern) else None
            status, answer = client.check(route.method, path, body)
            assert status >= 300 or route.pattern.startswith("/images"), (path[:100], status, answer[:200])


def _memory_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) << 10  # type: ignore[index]


def _open(engine: EngineProcess, data: bytes = b"") -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(engine.socket)
    connection.sendall(data)
    return connection


def test_thousands_of_connections_that_say_nothing(engine: EngineProcess) -> None:
    before = _memory_bytes(engine.pid)
    idle = []
    try:
        for number in range(2000):
            data = (b"", b"GET /_ping HT", b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")[
                number % 3
            ]
            idle.append(_open(engine, data))
        assert engine.api("GET", "/_ping")[0] == 200
        assert _memory_bytes(engine.pid) - before < 100 << 20
    finally:
        for connection in idle:
            connection.close()
    assert engine.api("GET", "/_ping")[0] == 200


def test_heads_without_end_are_refused(engine: EngineProcess) -> None:
    with _open(engine) as connection:
        connection.settimeout(20)
        with pytest.raises(OSError):
            for _ in range(64):
                connection.sendall(b"X-A: " + b"a" * 65_530 + b"\r\n")
            if not connection.recv(1):
                raise ConnectionResetError
            raise ConnectionError("refused with an answer")


def test_clients_that_never_read_cost_no_memory(engine: EngineProcess) -> None:
    """Logs, events and attach of a container that writes as fast as it can, for a bounded time and into a bounded log."""
    write = "i=0; while [ $i -lt 400 ]; do dd if=/dev/zero bs=64k count=4 2>/dev/null; i=$((i+1)); done; sleep 60"
    engine.api(
        "POST", "/containers/create?name=loud", {"Image": "busybox", "Cmd": ["sh", "-c", write],
        "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file", "Config": {"max-size": "8m"}}}},
    )  # fmt: skip
    engine.api("POST", "/containers/loud/start")
    before = _memory_bytes(engine.pid)
    deaf = []
    try:
        for target in ("logs?stdout=1&follow=1", "attach?stream=1&stdout=1&logs=1"):
            for _ in range(10):
                method = "GET" if target.startswith("logs") else "POST"
                deaf.append(_open(engine, f"{method} /containers/loud/{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))
        deaf += [_open(engine, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(10)]
        for _ in range(20):
            assert engine.api("GET", "/containers/json")[0] == 200
            time.sleep(0.05)
        assert _memory_bytes(engine.pid) - before < 64 << 20
        shim = json.loads(Path(_task_file(engine)).read_text())["shim_pid"]
        assert _memory_bytes(shim) < 64 << 20
    finally:
        for connection in deaf:
            connection.close()
        engine.api("DELETE", "/containers/loud?force=1")


def _task_file(engine: EngineProcess) -> str:
    container_id = engine.api("GET", "/containers/loud/json")[1]["Id"]
    return os.path.join(engine.exec_root, "tasks", container_id, "task.json")

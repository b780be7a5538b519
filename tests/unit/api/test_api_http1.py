"""The server over real sockets: keep-alive, pipelining, bodies, streams, hijack, and clients that misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.routing import Json, Request, Route, Router
from sampan.api.server import Server
from sampan.errors import Conflict

cancelled: list[str] = []


async def echo(engine: Any, request: Request) -> Any:
    return {"body": await request.json(), "version": request.api_version, "name": request.path("name")}


async def count(engine: Any, request: Request) -> Any:
    return Json(201, {"bytes": sum([len(chunk) async for chunk in request.body])})


async def stream(engine: Any, request: Request) -> None:
    async with request.stream() as out:
        try:
            for number in range(request.query_int("n") or 0):
                await out.send_json({"i": number})
                await asyncio.sleep(0)
            if request.query_bool("forever"):
                await asyncio.Event().wait()
            if request.query_bool("fail"):
                raise RuntimeError("in the middle")
        except asyncio.CancelledError:
            cancelled.append(request.target)
            raise


async def slow(engine: Any, request: Request) -> None:
    await asyncio.sleep(0.1)
    Path(request.query("file")).write_text("done")


async def conflict(engine: Any, request: Request) -> None:
    raise Conflict("in use")


async def hijack(engine: Any, request: Request) -> None:
    taken = await request.hijack("application/vnd.docker.raw-stream")
    with socket.socket(fileno=taken.fd) as client:
        client.setblocking(True)
        client.sendall(b"preload=" + taken.preload)
        late = await asyncio.to_thread(client.recv, 100)
        client.sendall(b" then=" + late)


ROUTES = [
    Route("POST", "/echo/{name:.*}/end", echo),
    Route("POST", "/count", count),
    Route("GET", "/stream", stream),
    Route("POST", "/slow", slow),
    Route("GET", "/conflict", conflict),
    Route("POST", "/hijack", hijack),
]


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[str]:
    server = Server(None, Router(ROUTES))  # type: ignore[arg-type]
    path = str(tmp_path / "s")
    await server.listen(f"unix://{path}")
    yield path
    await server.close()
    assert not os.path.exists(path)


async def talk(path: str, data: bytes, *, until: bytes = b"", half_close: bool = False) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    if half_close:
        writer.write_eof()
    received = b""
    try:
        async with asyncio.timeout(5):
            while not until or until not in received:
                chunk = await reader.read(1 << 16)
                if not chunk:
                    break
                received += chunk
    finally:
        writer.close()
    return received


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"


async def test_pipelined_requests_are_answered_in_order(path: str) -> None:
    requests = b"".join(post(f"/v1.40/echo/n{i}/a/end", b'{"i":%d}' % i, JSON) for i in range(3))
    got = await talk(path, requests, until=b'"name":"n2/a"')
    assert got.index(b'"name":"n0/a"') < got.index(b'"name":"n1/a"') < got.index(b'"name":"n2/a"')
    assert b'"version":[1,40]' in got


async def test_an_empty_host_header_is_accepted(path: str) -> None:
    assert b" 409 " in await talk(path, b"GET /conflict HTTP/1.1\r\nHost: \r\n\r\n", until=b"in use")


async def test_errors_are_dockers_json(path: str) -> None:
    got = await talk(path, b"GET /conflict HTTP/1.1\r\nHost: x\r\n\r\n", until=b"}\n")
    assert got.endswith(b'{"message":"in use"}\n')
    assert b" 404 " in await talk(path, b"PUT /conflict HTTP/1.1\r\nHost: x\r\n\r\n", until=b"page not found")


async def test_expect_100_continue_is_answered_before_the_body(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
    writer.write(b"12345")
    assert b'{"bytes":5}' in await asyncio.wait_for(reader.readuntil(b"}\n"), 5)
    writer.close()


async def test_chunked_bodies_flow_through(path: str) -> None:
    chunk = b"x" * 65536
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for _ in range(64)) + b"0\r\n\r\n"
    got = await talk(
        path, b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body, until=b"}\n"
    )
    assert b'{"bytes":%d}' % (64 * 65536) in got


async def test_a_client_that_leaves_cancels_a_stream_but_not_a_command(path: str, tmp_path: Path) -> None:
    cancelled.clear()
    await talk(path, b"GET /stream?n=1&forever=1 HTTP/1.1\r\nHost: x\r\n\r\n", until=b'{"i":0}')
    await asyncio.sleep(0.05)
    assert cancelled == ["/stream"]
    marker = tmp_path / "marker"
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"POST /slow?file=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % str(marker).encode())
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.close()
    await asyncio.sleep(0.2)
    assert marker.read_text() == "done"


async def test_a_failure_in_mid_stream_tears_the_stream(path: str) -> None:
    got = await talk(path, b"GET /stream?n=2&fail=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'{"i":1}' in got
    assert not got.endswith(b"0\r\n\r\n")


async def test_a_half_closed_client_still_gets_its_answer(path: str) -> None:
    assert b'"bytes":3' in await talk(path, post("/count", b"abc"), half_close=True)


async def test_hijack_hands_over_the_socket_and_what_came_ahead(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(post("/hijack", b"", "Connection: Upgrade", "Upgrade: tcp") + b"EARLY")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n")
    writer.write(b"LATE")
    rest = await asyncio.wait_for(reader.read(), 5)
    assert rest == b"preload=EARLY then=LATE"
    writer.close()


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"", "application/json", b"invalid JSON: EOF"),
        (b"{} x", "application/json", b"unexpected content after JSON"),
        (b"{", "application/json", b"invalid JSON: "),
        (b"{}", "text/plain", b"unsupported Content-Type header (text/plain): must be 'application/json'"),
        (b"{}", "", b"malformed Content-Type header (): mime: no media type"),
        (b'{"a": NaN}', "application/json", b"invalid JSON: "),
    ],
)
async def test_bad_json_is_400_in_dockers_words(path: str, body: bytes, content_type: str, message: bytes) -> None:
    headers = [f"Content-Type: {content_type}"] if content_type else []
    got = await talk(path, post("/echo/x/end", body, *headers), until=b"}\n")
    assert b" 400 " in got and message in got


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_garbage_is_refused_and_the_server_lives(path: str, data: bytes) -> None:
    try:
        got = await talk(path, data)
        assert got == b"" or got.startswith(b"HTTP/1.1 4")
    except ConnectionError:
        pass  # the server may hang up before we have finished talking
    assert b" 409 " in await talk(path, b"GET /conflict HTTP/1.1\r\nHost: x\r\n\r\n", until=b"in use")


async def test_double_slashes_are_redirected(path: str) -> None:
    got = await talk(path, b"GET //conflict HTTP/1.1\r\nHost: x\r\n\r\n", until=b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 301") and b"Location: /conflict\r\n" in got


async def test_versions_outside_the_range_are_refused(path: str) -> None:
    old = await talk(path, b"GET /v1.10/conflict HTTP/1.1\r\nHost: x\r\n\r\n", until=b"}\n")
    assert b"client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade" in old
    new = await talk(path, b"GET /v9.99/conflict HTTP/1.1\r\nHost: x\r\n\r\n", until=b"}\n")
    assert b"client version 9.99 is too new. Maximum supported API version is 1.56" in new

"""What the engine says about itself over HTTP."""

from __future__ import annotations

import http.client
import socket
import time

import pytest
from tests.conftest import EngineProcess


def raw_head(engine: EngineProcess, method: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(engine.socket)
    connection.request(method, path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping_has_each_header_once(engine: EngineProcess, method: str) -> None:
    answer = raw_head(engine, method, "/_ping")
    names = [name.lower() for name, _ in answer.getheaders()]
    for name in ("cache-control", "pragma", "api-version", "ostype", "builder-version", "swarm", "docker-experimental"):
        assert names.count(name) == 1, name
    assert answer.getheader("Content-Length") == ("2" if method == "GET" else "0")


def test_version_and_info_agree_with_the_lists(engine: EngineProcess) -> None:
    status, version = engine.api("GET", "/version")
    assert (status, version["ApiVersion"], version["MinAPIVersion"], version["Os"]) == (200, "1.56", "1.24", "linux")
    made = engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "60"]})[1]["Id"]
    assert engine.api("POST", f"/containers/{made}/start")[0] == 204
    info = engine.api("GET", "/info")[1]
    assert (info["Containers"], info["ContainersRunning"]) == (1, 1)
    assert info["Images"] == len(engine.api("GET", "/images/json?all=1")[1])
    assert info["ID"] and info["DockerRootDir"] == engine.data_root


def test_events_of_the_past_need_no_listener(engine: EngineProcess) -> None:
    since = time.time()
    engine.api("POST", "/volumes/create", {"Name": "told"})
    engine.api("DELETE", "/volumes/told")
    events = engine.api("GET", f"/events?since={since}&until={time.time():.6f}")[1]
    assert b'"Action":"create"' in events and b'"Action":"destroy"' in events


def test_events_refuse_nonsense(engine: EngineProcess) -> None:
    assert engine.api("GET", "/events?since=2&until=1")[0] == 400
    assert engine.api("GET", "/events?since=yesterday")[0] == 400
    status, body = engine.api("GET", "/events?filters=%7B%22bogus%22%3A%5B%22x%22%5D%7D")
    assert (status, body) == (400, {"message": "invalid filter 'bogus'"})


@pytest.mark.parametrize("path", ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs", "/services/x"])
def test_swarm_is_off(engine: EngineProcess, path: str) -> None:
    status, body = engine.api("GET", path)
    assert status == 503 and body["message"].startswith("This node is not a swarm manager.")


@pytest.mark.parametrize("path", ["/nope", "/containers", "/v1.41/containers/x/nope"])
def test_unknown_paths_are_404_json(engine: EngineProcess, path: str) -> None:
    assert engine.api("GET", path) == (404, {"message": "page not found"})


def test_df_counts_a_shared_layer_once(engine: EngineProcess) -> None:
    before = engine.api("GET", "/system/df")[1]
    engine.api("POST", "/images/busybox/tag?repo=shared&tag=1")
    after = engine.api("GET", "/system/df")[1]
    assert after["LayersSize"] == before["LayersSize"] > 0
    engine.api("DELETE", "/images/shared:1")
    assert set(engine.api("GET", "/system/df?type=volume")[1]) <= {"Volumes", "VolumeUsage"}


def test_images_have_no_attestations(engine: EngineProcess) -> None:
    assert engine.api("GET", "/images/busybox/attestations") == (200, [])
    assert engine.api("GET", "/images/no-such/attestations")[0] == 404

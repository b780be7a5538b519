"""Many clients at once on few things: every answer is one of Docker's, and in the end all is in order."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.conftest import EngineProcess
from tests.faults import invariants
from tests.faults.footprint import Footprint

_BURST_S = float(os.environ.get("SAMPAN_BURST_S", "4"))


def _at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives for each number, all begun together; the first exception of any is raised."""
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive(), "a client never got an answer"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _create(engine: EngineProcess, name: str = "", **more: Any) -> tuple[int, Any]:
    path = "/containers/create" + (f"?name={name}" if name else "")
    return engine.api("POST", path, {"Image": "busybox", "Cmd": ["sleep", "1000"], **more})


def _post(engine: EngineProcess, path: str, body: dict[str, Any], _: int) -> int:
    return engine.api("POST", path, body)[0]


def _one_of(engine: EngineProcess, requests: list[tuple[str, str]], number: int) -> tuple[int, Any]:
    return engine.api(*requests[number])


def test_of_many_who_want_a_name_one_gets_it(own_engine: EngineProcess) -> None:
    for path, expected in (("containers", "/containers/create?name=wanted"), ("networks", "/networks/create")):
        body = {"Image": "busybox", "Cmd": ["true"]} if path == "containers" else {"Name": "wanted"}
        answers = _at_once(16, partial(_post, own_engine, expected, body))
        assert Counter(answers) == {201: 1, 409: 15}
    invariants.check(own_engine)


def test_of_many_who_want_a_port_one_gets_it(own_engine: EngineProcess) -> None:
    ports = {"PortBindings": {"80/tcp": [{"HostPort": "20090"}]}}
    made = [_create(own_engine, HostConfig=ports)[1]["Id"] for _ in range(12)]
    answers = _at_once(12, lambda number: own_engine.api("POST", f"/containers/{made[number]}/start")[0])
    assert Counter(answers) == {204: 1, 500: 11}
    invariants.check(own_engine)


def test_starts_stops_and_removals_of_one_container(own_engine: EngineProcess) -> None:
    for _ in range(12):
        container = _create(own_engine)[1]["Id"]
        requests = [
            ("POST", f"/containers/{container}/start"),
            ("POST", f"/containers/{container}/start"),
            ("POST", f"/containers/{container}/stop?t=0"),
            ("POST", f"/containers/{container}/restart?t=0"),
            ("DELETE", f"/containers/{container}?force=1"),
            ("POST", f"/containers/{container}/rename?name=other"),
        ]
        answers = _at_once(len(requests), partial(_one_of, own_engine, requests))
        assert all(status in (200, 204, 304, 404, 409) for status, _ in answers), answers
        own_engine.api("DELETE", f"/containers/{container}?force=1")
    invariants.check_empty(own_engine)


def test_a_removal_by_force_wins_over_a_start_under_way(own_engine: EngineProcess) -> None:
    for number in range(20):
        container = _create(own_engine)[1]["Id"]

        def client(role: int, container: str = container, delay_s: float = number / 2000) -> int:
            if role == 0:
                return own_engine.api("POST", f"/containers/{container}/start")[0]
            time.sleep(delay_s)
            return own_engine.api("DELETE", f"/containers/{container}?force=1")[0]

        _, removed = _at_once(2, client)
        assert removed == 204
        assert own_engine.api("GET", f"/containers/{container}/json")[0] == 404
    invariants.check_empty(own_engine)


def test_two_hundred_containers_at_once(own_engine: EngineProcess) -> None:
    def client(_: int) -> None:
        for _ in range(10):
            status, answer = _create(own_engine)
            assert status == 201, answer
            status, answer = own_engine.api("POST", f"/containers/{answer['Id']}/start")
            assert status == 204, answer

    _at_once(20, client)
    assert len(own_engine.api("GET", "/containers/json")[1]) == 200
    invariants.check(own_engine)
    listed = [each["Id"] for each in own_engine.api("GET", "/containers/json")[1]]
    answers = _at_once(20, lambda n: [own_engine.api("DELETE", f"/containers/{c}?force=1")[0] for c in listed[n::20]])
    assert {status for each in answers for status in each} == {204}
    invariants.check_empty(own_engine)


def test_random_clients(own_engine: EngineProcess) -> None:
    """SAMPAN_BURST_S makes it longer."""
    own_engine.api("POST", "/networks/create", {"Name": "shared"})
    names = [f"c{number}x" for number in range(10)]
    until = time.monotonic() + _BURST_S
    surprises: list[Any] = []

    def client(number: int) -> int:
        source = random.Random(number)
        done = 0
        while time.monotonic() < until:
            name, body = source.choice(names), None
            action = source.choice(
                ["create", "start", "stop", "kill", "rm", "rename", "pause", "unpause", "connect", "disconnect", "exec"]
            )
            method, path = "POST", f"/containers/{name}/{action}"
            if action == "create":
                path, body = f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["sleep", "1000"]}
            elif action == "rm":
                method, path = "DELETE", f"/containers/{name}?force=1"
            elif action == "rename":
                path += f"?name={source.choice(names)}"
            elif action == "stop":
                path += "?t=0"
            elif action in ("connect", "disconnect"):
                path, body = f"/networks/shared/{action}", {"Container": name}
            elif action == "exec":
                body = {"Cmd": ["true"]}
            try:
                status, answer = own_engine.api(method, path, body)
            except TimeoutError:
                raise AssertionError(f"no answer to {method} {path}") from None
            if action == "exec" and status == 201:
                status, answer = own_engine.api("POST", f"/exec/{answer['Id']}/start", {"Detach": True})
            expected_500 = {
                "disconnect": "is not connected",
                "unpause": "is not paused",
                "exec": "OCI runtime exec failed",
            }.get(action)
            if status >= 500 and not (expected_500 and expected_500 in str(answer)):
                surprises.append((action, status, answer))
            done += 1
        return done

    assert sum(_at_once(8, client)) > 50
    assert not surprises, surprises[:10]
    invariants.check(own_engine)
    own_engine.remove_all_containers()
    own_engine.api("DELETE", "/networks/shared")
    invariants.check_empty(own_engine)


@pytest.mark.parametrize("stage", ["head", "body", "answer", "attached", "logs", "events"])
def test_clients_that_go_away_leave_nothing_open(own_engine: EngineProcess, stage: str) -> None:
    container = _create(own_engine)[1]["Id"]
    own_engine.api("POST", f"/containers/{container}/start")
    body = json.dumps({"Image": "busybox", "Cmd": ["true"]}).encode()
    requests = {
        "head": b"POST /containers/create HTTP/1.1\r\nHos",
        "body": b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
        "answer": b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body),
        "attached": b"POST /containers/%b/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n" % container.encode()
        + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        "logs": b"GET /containers/%b/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n" % container.encode(),
        "events": b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
    }
    footprint = Footprint(own_engine)
    before = sum(footprint.descriptors().values())
    for _ in range(40):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(own_engine.socket)
            client.sendall(requests[stage])
            time.sleep(random.random() / 200)
    for _ in range(100):
        if sum(footprint.descriptors().values()) <= before + 4:
            break
        time.sleep(0.05)
    assert sum(footprint.descriptors().values()) <= before + 4
    own_engine.remove_all_containers()
    invariants.check_empty(own_engine)

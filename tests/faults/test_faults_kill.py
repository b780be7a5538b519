"""kill -9 of the engine's own processes. The long random version is `python -m tests.faults.storm`; SAMPAN_STORM_ROUNDS makes
this one longer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from http.client import HTTPException
from typing import Any

import pytest
from tests.conftest import EngineProcess
from tests.faults import invariants
from tests.faults.footprint import Footprint
from tests.faults.storm import Storm
from tests.faults.work import Work

from sampan.engine.tasks.zygote_watch import ZygoteWatch
from sampan.runtime import protocol
from sampan.runtime.zygote_link import ZygoteLink

_ROUNDS = int(os.environ.get("SAMPAN_STORM_ROUNDS", "10"))


def _pids(engine: EngineProcess, role: str) -> list[int]:
    return [pid for pid, each in Footprint(engine).processes().items() if each == role]


def test_a_short_storm(own_engine: EngineProcess) -> None:
    storm = Storm(own_engine, seed=7, pieces=4)
    work = Work(own_engine)
    for _ in range(_ROUNDS):
        storm.round(work)
    work.remove_all()
    invariants.check_empty(own_engine)
    own_engine.stop()
    invariants.check_stopped(own_engine)


def test_a_start_whose_request_died_with_the_zygote_is_made_again(own_engine: EngineProcess) -> None:
    container = own_engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["echo", "hello"]})[1]["Id"]
    for _ in range(100):
        if _pids(own_engine, "launcher"):
            break
        time.sleep(0.02)
    (zygote,), (launcher,) = _pids(own_engine, "zygote"), _pids(own_engine, "launcher")
    os.kill(launcher, signal.SIGSTOP)  # the request stays in the socket
    answers: list[Any] = []
    start = threading.Thread(target=lambda: answers.append(own_engine.api("POST", f"/containers/{container}/start")))
    start.start()
    time.sleep(0.3)
    assert not answers
    os.kill(zygote, signal.SIGKILL)
    start.join(20)
    assert answers[0][0] == 204, answers
    assert own_engine.docker("wait", container).stdout == "0\n"
    assert own_engine.docker("logs", container).stdout == "hello\n"
    invariants.check(own_engine)


async def test_a_zygote_that_a_request_replaced_is_watched_like_the_first() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    link = ZygoteLink.start()
    watch = ZygoteWatch(link)
    try:
        watch.begin()
        os.kill(link.pid, signal.SIGKILL)
        os.waitid(os.P_PID, link.pid, os.WEXITED | os.WNOWAIT)
        ours, theirs = protocol.pair()
        with ours, theirs:  # before the loop could notice
            body = {"op": "rootfs", "seq": 1, "operation": "none", "target": {}, "arguments": {}, "scratch": "/"}
            link.submit(body, fds=[theirs.fileno()], lane=protocol.LANE_ROOTFS)
        watch.begin()
        second = link.pid
        os.kill(second, signal.SIGKILL)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if link.pid != second:
                break
        assert link.pid != second
    finally:
        watch.end()
        link.close()


def test_the_engine_ends_in_order_while_containers_start(own_engine: EngineProcess) -> None:
    made = [
        own_engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "1000"]})[1]
        for _ in range(8)
    ]

    def start(container: str) -> None:
        with contextlib.suppress(OSError, HTTPException):
            own_engine.api("POST", f"/containers/{container}/start")

    clients = [threading.Thread(target=start, args=(each["Id"],)) for each in made]
    for client in clients:
        client.start()
    own_engine.stop()
    assert own_engine.process is not None and own_engine.process.returncode == 0, own_engine.log_tail()
    for client in clients:
        client.join(20)
    own_engine.start()
    invariants.check(own_engine)


def test_an_attached_run_goes_on_when_the_engine_is_killed(own_engine: EngineProcess, docker_cli: None) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); [ $i = 1000 ] && sleep 1; done; exit 5"
    client = subprocess.Popen(
        ["docker", "run", "--name", "attached", "busybox", "sh", "-c", script],
        env={**os.environ, "DOCKER_HOST": own_engine.host},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"line 0\n"
    own_engine.kill()
    rest = client.stdout.read()
    client.wait()
    own_engine.start()
    expected = b"".join(b"line %d\n" % number for number in range(2000))
    assert b"line 0\n" + rest == expected
    assert own_engine.docker("logs", "attached").stdout.encode() == expected
    assert own_engine.docker("wait", "attached").stdout == "5\n"


def test_a_container_whose_shim_is_killed_ends_and_is_restarted_after_its_policy(own_engine: EngineProcess) -> None:
    for name, policy in (("plain", "no"), ("again", "always")):
        done = own_engine.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
        assert done.returncode == 0
    for pid in _pids(own_engine, "shim"):
        os.kill(pid, signal.SIGKILL)
    assert own_engine.docker("wait", "plain").stdout == "137\n"
    for _ in range(100):
        if own_engine.api("GET", "/containers/again/json")[1]["State"]["Status"] == "running":
            break
        time.sleep(0.1)
    invariants.check(own_engine)
    assert own_engine.api("GET", "/containers/again/json")[1]["RestartCount"] == 1


def test_a_commit_without_changes_leaves_no_layer_behind(own_engine: EngineProcess) -> None:
    own_engine.docker("create", "--name", "same", "busybox", "true")
    assert own_engine.docker("commit", "same", "copy").returncode == 0
    invariants.check(own_engine)


def test_many_runs_leave_the_engine_as_it_was(own_engine: EngineProcess) -> None:
    """SAMPAN_LEAK_RUNS makes it longer."""
    runs = int(os.environ.get("SAMPAN_LEAK_RUNS", "60"))
    footprint = Footprint(own_engine)

    def some(count: int) -> None:
        for _ in range(count):
            status, answer = own_engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["echo", "x"]})
            assert status == 201
            path = f"/containers/{answer['Id']}"
            assert own_engine.api("POST", f"{path}/start")[0] == 204
            assert own_engine.api("POST", f"{path}/wait")[1]["StatusCode"] == 0
            assert own_engine.api("GET", f"{path}/logs?stdout=1")[0] == 200
            assert own_engine.api("DELETE", f"{path}?v=1")[0] == 204
        invariants.check_empty(own_engine)

    some(40)  # pools and caches fill
    descriptors, threads, memory_kib = footprint.descriptors(), footprint.threads(), footprint.resident_kib()
    some(runs)
    after = footprint.descriptors()
    growth = {kind: count - descriptors.get(kind, 0) for kind, count in after.items()}
    assert sum(growth.values()) <= 4, growth
    assert footprint.threads() <= threads + 2
    assert footprint.resident_kib() - memory_kib < 2048 + runs * 4
    print(f"{runs} runs: descriptors {growth}, {footprint.resident_kib() - memory_kib} KiB, {threads} threads")

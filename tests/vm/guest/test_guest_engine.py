"""In the virtual machine: an engine, containers and their limits on cgroup v2."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import EngineProcess

_ROOT = Path("/sys/fs/cgroup")
pytestmark = pytest.mark.skipif(
    not (_ROOT / "cgroup.controllers").exists() or os.geteuid() != 0, reason="needs cgroup v2 alone, as root"
)


def run(engine: EngineProcess, *arguments: str) -> str:
    done = engine.sampan(*arguments, timeout=120)
    assert done.returncode == 0, done.stderr + engine.log_tail()
    return done.stdout


@pytest.fixture
def container(engine: EngineProcess) -> Iterator[str]:
    options = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--device", "/dev/full:/dev/mine"]
    name = run(engine, "run", "-d", *options, "busybox", "sleep", "1000").strip()
    yield name
    run(engine, "rm", "-f", name)


def group(engine: EngineProcess, name: str) -> Path:
    pid = json.loads(run(engine, "inspect", name))[0]["State"]["Pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::")[2]
    return Path(f"{_ROOT}{path}")


def test_limits_and_their_update(engine: EngineProcess, container: str) -> None:
    directory = group(engine, container)
    assert (directory / "memory.max").read_text() == f"{64 << 20}\n"
    assert (directory / "cpu.max").read_text() == "50000 100000\n"
    assert (directory / "pids.max").read_text() == "50\n"
    run(engine, "update", "--memory", "96m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "-1", container)
    assert (directory / "memory.max").read_text() == f"{96 << 20}\n"
    assert (directory / "cpu.max").read_text() == "150000 100000\n"
    assert (directory / "pids.max").read_text() == "max\n"
    found = json.loads(run(engine, "inspect", container))[0]["HostConfig"]
    assert (found["Memory"], found["NanoCpus"]) == (96 << 20, 1_500_000_000)


def test_devices(engine: EngineProcess, container: str) -> None:
    allowed = "head -c 1 /dev/zero >/dev/null && head -c 1 /dev/mine >/dev/null && : </dev/null"
    run(engine, "exec", container, "sh", "-c", allowed)
    refused = "mknod /vda b 254 0 && head -c 1 /vda"
    done = engine.sampan("exec", container, "sh", "-c", refused)
    assert done.returncode != 0 and "not permitted" in done.stderr


def test_pause_and_exec(engine: EngineProcess, container: str) -> None:
    run(engine, "pause", container)
    assert "frozen 1" in (group(engine, container) / "cgroup.events").read_text()
    assert "is paused" in engine.sampan("exec", container, "true").stderr
    run(engine, "unpause", container)
    assert run(engine, "exec", container, "cat", "/proc/self/cgroup") == "0::/\n"
    assert run(engine, "exec", container, "cat", "/sys/fs/cgroup/memory.max") == f"{64 << 20}\n"
    assert "ead-only" in engine.sampan("exec", container, "sh", "-c", "echo 1 >/sys/fs/cgroup/pids.max").stderr


def test_stats(engine: EngineProcess, container: str) -> None:
    row = json.loads(run(engine, "stats", "--no-stream", "--format", "json", container))
    assert row["MemUsage"].endswith("64MiB") and row["PIDs"] == "1"
    status, found = engine.api("GET", f"/containers/{container}/stats?stream=0&one-shot=1")
    assert status == 200
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert found["memory_stats"]["usage"] > 0 and "inactive_file" in found["memory_stats"]["stats"]


def test_out_of_memory(engine: EngineProcess) -> None:
    hungry = ["busybox", "sh", "-c", "tail -c 100m /dev/zero"]
    name = run(engine, "create", "--memory", "16m", "--memory-swap", "16m", *hungry).strip()
    try:
        done = engine.sampan("start", "-a", name, timeout=120)
        state = json.loads(run(engine, "inspect", name))[0]["State"]
        assert (done.returncode, state["ExitCode"], state["OOMKilled"]) == (137, 137, True), state
    finally:
        run(engine, "rm", "-f", name)


def test_nothing_of_a_container_stays(engine: EngineProcess) -> None:
    name = run(engine, "run", "-d", "busybox", "sleep", "1000").strip()
    directory = group(engine, name)
    assert directory.is_dir() and directory != _ROOT
    run(engine, "rm", "-f", name)
    for _ in range(100):
        if not directory.exists():
            return
        time.sleep(0.1)
    pytest.fail(f"{directory} is still there")


def test_bridge_and_published_port(engine: EngineProcess) -> None:
    server = "while echo served | nc -l -p 80; do :; done"
    name = run(engine, "run", "-d", "-p", "127.0.0.1:8099:80", "--name", "web", "busybox", "sh", "-c", server).strip()
    try:
        address = run(engine, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).strip()
        assert "served" in run(engine, "run", "--rm", "busybox", "sh", "-c", f"nc -w 5 {address} 80 </dev/null")
        import socket

        for _ in range(50):
            try:
                with socket.create_connection(("127.0.0.1", 8099), timeout=10) as connection:
                    assert connection.recv(100) == b"served\n"
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail("the published port does not answer")
    finally:
        run(engine, "rm", "-f", name)


def test_build(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM busybox\nRUN cat /proc/self/cgroup > /built\nCMD ["cat", "/built"]\n')
    run(engine, "build", "--memory", "64m", "-t", "v2", str(tmp_path))
    assert run(engine, "run", "--rm", "v2") == "0::/\n"

"""A real engine for the tests that need one: its own roots, bridge, table and cgroups, gone when the tests end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
BUSYBOX = "/bin/busybox"


HOST_NETWORK = -1


def _enter_network_of_our_own() -> None:
    """Tests that need root run in a network namespace of their own: no firewall of the host, least of all another engine's,
    reaches them, and nothing that they make can stay behind in the host's network. `HOST_NETWORK` leads back, for what
    has to be downloaded."""
    global HOST_NETWORK
    from sampan.linux.netlink import netns, rtnetlink
    from sampan.linux.netlink.channel import Channel

    HOST_NETWORK = netns.open_current()
    netns.unshare_network()
    channel = Channel()
    channel.batch([rtnetlink.set_link_up(1)])
    channel.close()


if os.geteuid() == 0:
    _enter_network_of_our_own()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


class EngineProcess:
    """A sampand of the tests' own. `api` speaks raw HTTP to it, `sampan` and `docker` run the command lines."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.data_root, self.exec_root = f"{root}/data", f"{root}/run"
        self.socket = f"{self.exec_root}/sampan.sock"
        self.host = f"unix://{self.socket}"
        self.log = f"{root}/sampand.log"
        self.flags: list[str] = []
        self.environment: dict[str, str] = {}
        self.marker = f"{root}/marker"
        """An entry of PATH that nothing is in, by which tests know the engine's processes in /proc."""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        os.makedirs(self.root, exist_ok=True)
        with open(self.log, "ab") as log:
            roots = ["--data-root", self.data_root, "--exec-root", self.exec_root]
            self.process = subprocess.Popen(
                [BIN / "sampand", *roots, "-H", self.host, "--debug", *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:{self.marker}", **self.environment},
                start_new_session=True,
            )
        for _ in range(1200):  # an emulated machine takes its time
            if self.process.poll() is not None:
                raise AssertionError(f"sampand ended at once:\n{self.log_tail()}")
            try:
                if self.api("GET", "/_ping")[0] == 200:
                    return
            except OSError:
                time.sleep(0.025)
        raise AssertionError(f"sampand does not answer:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return Path(self.log).read_text(errors="replace")[-4000:]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """kill -9, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def api(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """One request; the answer's body is decoded if it is JSON."""
        connection = _UnixConnection(self.socket)
        try:
            headers = dict(headers or {})
            data = body
            if body is not None and not isinstance(body, bytes):
                data = json.dumps(body).encode()
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            raw = answer.read()
            is_json = (
                answer.headers.get("Content-Type", "").startswith("application/json") and raw.strip().count(b"\n") == 0
            )
            return answer.status, json.loads(raw) if is_json and raw.strip() else raw
        finally:
            connection.close()

    def sampan(
        self, *arguments: str, input: bytes | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return self._run([str(BIN / "sampan"), *arguments], input, timeout)

    def docker(
        self, *arguments: str, input: bytes | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        _need_docker_cli()
        return self._run(["docker", *arguments], input, timeout)

    def _run(self, command: list[str], input: bytes | None, timeout: float) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_HOST": self.host, "SAMPAN_HOST": self.host, "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            command, input=input or b"", capture_output=True, timeout=timeout, env=environment, check=False
        )
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def remove_all_containers(self) -> None:
        status, listed = self.api("GET", "/containers/json?all=1")
        for container in listed if status == 200 else []:
            self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")


@pytest.fixture(scope="session")
def engine_process() -> Iterator[EngineProcess]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = tempfile.mkdtemp(prefix="sampan-test-", dir="/var/tmp")
    os.chmod(root, 0o711)  # containers of other users must reach their root
    engine = EngineProcess(root)
    engine.start()
    try:
        if not os.path.exists(BUSYBOX):
            pytest.skip("needs busybox-static")
        answer = engine.sampan("image", "bootstrap", "busybox")
        assert answer.returncode == 0, answer.stderr + engine.log_tail()
        yield engine
    finally:
        if engine.process is not None and engine.process.poll() is not None:
            engine.start()
        engine.remove_all_containers()
        engine.stop()
        log = Path(engine.log).read_text(errors="replace")
        shutil.rmtree(root, ignore_errors=True)
        assert "Traceback (most recent call last)" not in log, "the engine logged an exception:\n" + log[-20000:]


@pytest.fixture
def engine(engine_process: EngineProcess) -> Iterator[EngineProcess]:
    """The shared engine, with the image `busybox`; the containers that a test leaves are removed after it."""
    if engine_process.process is None or engine_process.process.poll() is not None:
        engine_process.start()
    yield engine_process
    if engine_process.process is not None and engine_process.process.poll() is None:
        engine_process.remove_all_containers()


def _need_docker_cli() -> None:
    if shutil.which("docker") is None:
        pytest.skip("the docker CLI is not installed")


@pytest.fixture
def docker_cli() -> None:
    """For tests that run the docker command on their own; `engine.docker` skips by itself."""
    _need_docker_cli()


@pytest.fixture
def docker_client(engine: EngineProcess) -> Iterator[Any]:
    """docker-py on the shared engine."""
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=engine.host)
    yield client
    client.close()

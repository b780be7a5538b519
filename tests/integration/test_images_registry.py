"""Pull and push with the distribution's own registry server, through the engine's API; skopeo reads what we write."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REGISTRY = shutil.which("docker-registry")
pytestmark = pytest.mark.skipif(REGISTRY is None, reason="docker-registry is not installed")
_PORT_TRIES = 100


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RegistryServer:
    def __init__(self, root: Path, htpasswd: str = "") -> None:
        self.port = _free_port()
        self.host = f"127.0.0.1:{self.port}"
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if htpasswd:
            (root / "htpasswd").write_text(htpasswd)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(root / "htpasswd")}}
        (root / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.process = subprocess.Popen(
            [REGISTRY or "", "serve", str(root / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(_PORT_TRIES):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("docker-registry does not answer")

    def get(self, path: str, accept: str = "*/*") -> bytes:
        request = urllib.request.Request(f"http://{self.host}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def stop(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    server = RegistryServer(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    line = (
        "user:$2y$05$1IFXhX5u.z5wXJNPG1PZ3eaoCM7AzNhw6tT7spfzBBXy82P.XPWQW\n"  # what `htpasswd -Bbn user secret` prints
    )
    server = RegistryServer(tmp_path_factory.mktemp("private"), line)
    yield server
    server.stop()


def _tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _messages(answer: Any) -> list[dict[str, Any]]:
    if isinstance(answer, dict):
        return [answer]
    return [json.loads(line) for line in answer.splitlines() if line.strip()]


def _image(engine: Any, name: str, **files: bytes) -> str:
    status, answer = engine.api(
        "POST", f"/images/create?fromSrc=-&repo={name}&tag=1&changes=CMD%20ls", _tar(**files) if files else _tar(a=b"1")
    )
    assert status == 200
    image_id = _messages(answer)[-1]["status"]
    assert image_id.startswith("sha256:")
    return str(image_id)


def _push(engine: Any, name: str, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    status, answer = engine.api("POST", f"/images/{name}/push?tag=1", headers=headers or {"X-Registry-Auth": "e30="})
    assert status == 200
    return _messages(answer)


def _pull(
    engine: Any, name: str, tag: str = "1", headers: dict[str, str] | None = None
) -> tuple[int, list[dict[str, Any]]]:
    status, answer = engine.api("POST", f"/images/create?fromImage={name}&tag={tag}", headers=headers or {})
    return status, _messages(answer)


def _forget(engine: Any, name: str) -> None:
    assert engine.api("DELETE", f"/images/{name}?force=1")[0] == 200


def test_push_and_pull_keep_every_byte(engine: Any, registry: RegistryServer) -> None:
    name = f"{registry.host}/team/app"
    image_id = _image(engine, name, data=os.urandom(300_000), empty=b"")
    pushed = _push(engine, name)
    digest = pushed[-1]["aux"]["Digest"]
    assert pushed[0]["status"] == f"The push refers to repository [{name}]"
    assert f"1: digest: {digest} size: {pushed[-1]['aux']['Size']}" in [m.get("status") for m in pushed]
    assert _push(engine, name)[-1]["aux"]["Digest"] == digest
    assert "Layer already exists" in [m.get("status") for m in _push(engine, name)]
    manifest = registry.get("/v2/team/app/manifests/1", "application/vnd.docker.distribution.manifest.v2+json")

    _forget(engine, f"{name}:1")
    assert engine.api("GET", f"/images/{name}:1/json")[0] == 404
    status, messages = _pull(engine, name)
    states = [m.get("status", "") for m in messages]
    assert status == 200
    assert states[0] == "Pulling from team/app" and "Pull complete" in states
    assert states[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}:1"]
    _, inspected = engine.api("GET", f"/images/{name}:1/json")
    assert inspected["Id"] == image_id and inspected["RepoDigests"] == [f"{name}@{digest}"]
    assert _pull(engine, name)[1][-1]["status"] == f"Status: Image is up to date for {name}:1"

    # pushed elsewhere it is the same manifest, and its layer is mounted instead of sent
    other = f"{registry.host}/team/copy"
    assert engine.api("POST", f"/images/{name}:1/tag?repo={other}&tag=1")[0] == 201
    again = _push(engine, other)
    assert again[-1]["aux"]["Digest"] == digest
    assert "Mounted from team/app" in [m.get("status") for m in again]
    assert registry.get("/v2/team/copy/manifests/1", "application/vnd.docker.distribution.manifest.v2+json") == manifest
    _forget(engine, f"{name}:1")
    _forget(engine, f"{other}:1")


def test_pull_by_digest(engine: Any, registry: RegistryServer) -> None:
    name = f"{registry.host}/bydigest"
    image_id = _image(engine, name, x=b"by digest")
    digest = _push(engine, name)[-1]["aux"]["Digest"]
    _forget(engine, f"{name}:1")
    status, messages = _pull(engine, name, digest)
    assert status == 200 and messages[-1]["status"] == f"Status: Downloaded newer image for {name}@{digest}"
    _, inspected = engine.api("GET", f"/images/{name}@{digest}/json")
    assert (inspected["Id"], inspected["RepoTags"]) == (image_id, [])
    _, distribution = engine.api("GET", f"/distribution/{name}:1/json")
    assert distribution["Descriptor"]["digest"] == digest
    assert distribution["Platforms"][0]["os"] == "linux"
    _forget(engine, f"{name}@{digest}")


def test_all_tags(engine: Any, registry: RegistryServer) -> None:
    name = f"{registry.host}/tags"
    _image(engine, name, t=b"tags")
    for tag in ("1", "2", "3"):
        engine.api("POST", f"/images/{name}:1/tag?repo={name}&tag={tag}")
    status, answer = engine.api("POST", f"/images/{name}/push", headers={"X-Registry-Auth": "e30="})
    assert status == 200 and sum("aux" in m for m in _messages(answer)) == 3
    image_id = engine.api("GET", f"/images/{name}:1/json")[1]["Id"]
    engine.api("DELETE", f"/images/{image_id}?force=1")
    status, answer = engine.api("POST", f"/images/create?fromImage={name}")
    assert status == 200 and _messages(answer)[-1]["status"] == f"Status: Downloaded newer image for {name}"
    assert sorted(engine.api("GET", f"/images/{name}:2/json")[1]["RepoTags"]) == [f"{name}:{n}" for n in "123"]
    engine.api("DELETE", f"/images/{image_id}?force=1")


def _auth(password: str) -> dict[str, str]:
    value = json.dumps({"username": "user", "password": password}).encode()
    return {"X-Registry-Auth": base64.urlsafe_b64encode(value).decode()}


def test_basic_auth(engine: Any, private_registry: RegistryServer) -> None:
    name = f"{private_registry.host}/secret"
    _image(engine, name, s=b"secret")
    assert _push(engine, name)[-1]["error"] == "no basic auth credentials"
    assert "aux" in _push(engine, name, _auth("secret"))[-1]
    assert "error" in _push(engine, name, _auth("wrong"))[-1]
    _forget(engine, f"{name}:1")
    status, answer = _pull(engine, name)
    assert status == 500 and "no basic auth credentials" in answer[0]["message"]
    status, answer = _pull(engine, name, headers=_auth("secret"))
    assert status == 200 and answer[-1]["status"].startswith("Status: Downloaded")
    _forget(engine, f"{name}:1")
    body = {"username": "user", "password": "secret", "serveraddress": private_registry.host}
    assert engine.api("POST", "/auth", body) == (200, {"IdentityToken": "", "Status": "Login Succeeded"})
    status, answer = engine.api("POST", "/auth", {**body, "password": "wrong"})
    assert status == 500 and "401 Unauthorized" in answer["message"]


def test_what_does_not_exist(engine: Any, registry: RegistryServer) -> None:
    status, answer = _pull(engine, f"{registry.host}/nope", "x")
    assert status == 404
    assert answer[0]["message"] == f"manifest for {registry.host}/nope:x not found: manifest unknown: manifest unknown"
    port = _free_port()
    status, answer = _pull(engine, f"127.0.0.1:{port}/nope", "x")
    assert status == 500 and answer[0]["message"].endswith(f"dial tcp 127.0.0.1:{port}: connect: connection refused")
    assert _pull(engine, "Upper")[0] == 400
    error = f"An image does not exist locally with the tag: {registry.host}/nope"
    assert _push(engine, f"{registry.host}/nope")[-1] == {"errorDetail": {"message": error}, "error": error}
    status, answer = engine.api("GET", f"/distribution/{registry.host}/nope:x/json")
    assert (status, answer["message"]) == (404, "manifest unknown: manifest unknown")


class CuttingProxy:
    """Passes bytes to the registry and cuts each of the first `cuts` connections after `limit` bytes of answers."""

    def __init__(self, target: int, limit: int, cuts: int) -> None:
        self._target, self._limit, self.cuts = target, limit, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
        passed = 0
        try:
            while data := server.recv(65536):
                client.sendall(data)
                passed += len(data)
                if passed > self._limit and self.cuts > 0:
                    self.cuts -= 1
                    break
        except OSError:
            pass
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # the other thread still reads: close alone would send nothing
            each.close()

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


def test_a_pull_survives_cut_connections(engine: Any, registry: RegistryServer) -> None:
    name = f"{registry.host}/cut"
    image_id = _image(engine, name, noise=os.urandom(8 << 20))
    _push(engine, name)
    _forget(engine, f"{name}:1")
    proxy = CuttingProxy(registry.port, 2 << 20, cuts=3)
    try:
        status, messages = _pull(engine, f"127.0.0.1:{proxy.port}/cut")
    finally:
        proxy.close()
    assert status == 200 and messages[-1]["status"].startswith("Status: Downloaded"), messages
    assert proxy.cuts == 0
    assert engine.api("GET", f"/images/127.0.0.1:{proxy.port}/cut:1/json")[1]["Id"] == image_id
    _forget(engine, f"127.0.0.1:{proxy.port}/cut:1")


def test_skopeo_reads_and_writes_the_same(engine: Any, registry: RegistryServer, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    name = f"{registry.host}/skopeo"
    image_id = _image(engine, name, s=b"for skopeo")
    digest = _push(engine, name)[-1]["aux"]["Digest"]
    for arguments in (
        ["copy", "--src-tls-verify=false", f"docker://{name}:1", f"dir:{tmp_path}/image"],
        ["copy", "--dest-tls-verify=false", "--format=oci", f"dir:{tmp_path}/image", f"docker://{name}:oci"],
    ):
        done = subprocess.run([skopeo, "--insecure-policy", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert digest.partition(":")[2]
    assert f"sha256:{image_id[7:]}" in (tmp_path / "image" / "manifest.json").read_text()
    _forget(engine, f"{name}:1")
    status, messages = _pull(engine, name, "oci")
    assert status == 200 and messages[-1]["status"].startswith("Status: Downloaded")
    assert engine.api("GET", f"/images/{name}:oci/json")[1]["Config"]["Cmd"] == ["/bin/sh", "-c", "ls"]
    _forget(engine, f"{name}:oci")

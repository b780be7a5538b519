"""Pieces of a client's work for the storms: each may fail when a process dies under it, and must come to an end."""

from __future__ import annotations

import io
import itertools
import random
import tarfile
import threading
from collections.abc import Callable
from typing import Any

from tests.conftest import EngineProcess

Piece = Callable[[random.Random], None]
_IMAGE = "busybox"


class Work:
    """Pieces by name. `registry` is host:port of a registry, if push and pull shall be among them."""

    def __init__(self, engine: EngineProcess, registry: str = "") -> None:
        self.engine = engine
        self._numbers = itertools.count()
        self.under_way: dict[int, str] = {}
        """The requests that wait for their answer, by thread."""
        self._registry = registry
        self._saved = engine.api("GET", f"/images/{_IMAGE}/get")[1]
        self.kinds: dict[str, Piece] = {
            "run": self.run,
            "attached": self.attached,
            "life": self.life,
            "exec": self.exec,
            "stop": self.stop,
            "remove": self.remove,
            "restart": self.restart,
            "pause": self.pause,
            "copy_in": self.copy_in,
            "copy_out": self.copy_out,
            "commit": self.commit,
            "save": self.save,
            "load": self.load,
            "import": self.import_,
            "build": self.build,
            "network": self.network,
            "volume": self.volume,
            "published": self.published,
            "prune": self.prune,
            "bootstrap": self.bootstrap,
        }
        if registry:
            self.kinds["push_pull"] = self.push_pull

    def api(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        me = threading.get_ident()
        self.under_way[me] = f"{method} {path}"
        try:
            return self.engine.api(method, path, body, headers)
        finally:
            del self.under_way[me]

    def name(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers)}"

    def create(self, command: list[str], name: str = "", **more: Any) -> str:
        path = "/containers/create" + (f"?name={name}" if name else "")
        status, answer = self.api("POST", path, {"Image": _IMAGE, "Cmd": command, **more})
        if status != 201:
            raise OSError(f"create: {status} {answer}")
        return str(answer["Id"])

    def any_container(self, source: random.Random, status: str = "") -> str:
        listed = self.api("GET", "/containers/json?all=1")[1]
        found = [each["Id"] for each in listed if not status or each["State"] == status]
        return source.choice(found) if found else self.create(["sleep", "1000"])

    # --- containers

    def run(self, source: random.Random) -> None:
        container = self.create(
            ["sleep", "1000"], HostConfig={"RestartPolicy": {"Name": source.choice(["no", "always"])}}
        )
        self.api("POST", f"/containers/{container}/start")

    def life(self, source: random.Random) -> None:
        container = self.create(["sh", "-c", "echo out; exit 7"])
        if self.api("POST", f"/containers/{container}/start")[0] == 204:
            self.api("POST", f"/containers/{container}/wait")
            self.api("DELETE", f"/containers/{container}?v=1")

    def attached(self, source: random.Random) -> None:
        """With --rm; the shim answers whether or not the engine lives. Output is whole if the exit code says so."""
        lines = source.randrange(1, 2000)
        script = f"i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done; exit 3"
        done = self.engine.docker("run", "--rm", "-i", _IMAGE, "sh", "-c", script)
        if done.returncode == 3:
            found = done.stdout.splitlines()
            assert found == [f"line {i}" for i in range(lines)], f"{len(found)} of {lines} lines"

    def exec(self, source: random.Random) -> None:
        container = self.any_container(source, "running")
        self.engine.docker("exec", container, "sh", "-c", "echo hello; exit 4")

    def stop(self, source: random.Random) -> None:
        self.api("POST", f"/containers/{self.any_container(source, 'running')}/stop?t=0")

    def remove(self, source: random.Random) -> None:
        self.api("DELETE", f"/containers/{self.any_container(source)}?force=1&v=1")

    def restart(self, source: random.Random) -> None:
        self.api("POST", f"/containers/{self.any_container(source)}/restart?t=0")

    def pause(self, source: random.Random) -> None:
        container = self.any_container(source, "running")
        self.api("POST", f"/containers/{container}/pause")
        self.api("POST", f"/containers/{container}/unpause")

    def copy_in(self, source: random.Random) -> None:
        body = tar({f"file{number}": source.randbytes(100_000) for number in range(5)})
        self.api("PUT", f"/containers/{self.any_container(source)}/archive?path=/tmp", body)

    def copy_out(self, source: random.Random) -> None:
        self.api("GET", f"/containers/{self.any_container(source)}/archive?path=/bin")

    def published(self, source: random.Random) -> None:
        ports = {"80/tcp": [{"HostPort": str(source.randrange(20000, 30000))}]}
        container = self.create(["sleep", "1000"], HostConfig={"PortBindings": ports}, ExposedPorts={"80/tcp": {}})
        self.api("POST", f"/containers/{container}/start")

    # --- images

    def commit(self, source: random.Random) -> None:
        self.api("POST", f"/commit?container={self.any_container(source)}&repo={self.name('committed')}")

    def save(self, source: random.Random) -> None:
        self.api("GET", f"/images/{_IMAGE}/get")

    def load(self, source: random.Random) -> None:
        self.api("POST", "/images/load", self._saved, {"Content-Type": "application/x-tar"})

    def import_(self, source: random.Random) -> None:
        body = tar({f"file{number}": source.randbytes(200_000) for number in range(5)})
        self.api("POST", f"/images/create?fromSrc=-&repo={self.name('imported')}", body)

    def build(self, source: random.Random) -> None:
        text = f"FROM {_IMAGE}\nRUN echo {source.random()} > /a\nCOPY data /data\nRUN cat /data > /b\nENV x={source.random()}\n"
        body = tar({"Dockerfile": text.encode(), "data": source.randbytes(300_000)})
        self.api("POST", f"/build?t={self.name('built')}", body, {"Content-Type": "application/x-tar"})

    def bootstrap(self, source: random.Random) -> None:
        self.engine.sampan("image", "bootstrap", "busybox")

    def push_pull(self, source: random.Random) -> None:
        name = self.name("pushed")
        body = tar({"file": source.randbytes(2_000_000)})
        self.api("POST", f"/images/create?fromSrc=-&repo={self._registry}/{name}&tag=1", body)
        self.api("POST", f"/images/{self._registry}/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="})
        self.api("DELETE", f"/images/{self._registry}/{name}:1")
        self.api("POST", f"/images/create?fromImage={self._registry}/{name}&tag=1")

    # --- the rest

    def network(self, source: random.Random) -> None:
        name = self.name("net")
        if self.api("POST", "/networks/create", {"Name": name})[0] == 201:
            container = self.any_container(source)
            self.api("POST", f"/networks/{name}/connect", {"Container": container})
            self.api("POST", f"/networks/{name}/disconnect", {"Container": container, "Force": True})
            self.api("DELETE", f"/networks/{name}")

    def volume(self, source: random.Random) -> None:
        name = self.name("vol")
        container = self.create(["sh", "-c", "echo x > /v/x"], HostConfig={"Binds": [f"{name}:/v"]})
        self.api("POST", f"/containers/{container}/start")
        self.api("POST", f"/containers/{container}/wait")
        self.api("DELETE", f"/containers/{container}")
        self.api("DELETE", f"/volumes/{name}")

    def prune(self, source: random.Random) -> None:
        kind = source.choice(["containers", "networks", "volumes"])
        self.api("POST", f"/{kind}/prune")

    def remove_all(self) -> None:
        """Everything but the image that all starts from."""
        for each in self.api("GET", "/containers/json?all=1")[1]:
            status, answer = self.api("DELETE", f"/containers/{each['Id']}?force=1&v=1")
            assert status in (204, 404, 409), answer
        self.api("POST", "/networks/prune")
        for each in self.api("GET", "/volumes")[1]["Volumes"] or ():
            assert self.api("DELETE", f"/volumes/{each['Name']}?force=1")[0] == 204
        for each in self.api("GET", "/images/json?all=1")[1]:
            if f"{_IMAGE}:latest" not in each["RepoTags"]:
                self.api("DELETE", f"/images/{each['Id']}?force=1")
        self.api("POST", "/build/prune?all=1")


def tar(files: dict[str, bytes]) -> bytes:
    """A plain archive of regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()

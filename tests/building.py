"""Builds for the tests: contexts made in memory, a base image of busybox, a look into what came out."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from typing import Any
from urllib.parse import urlencode

from tests.conftest import EngineProcess

Files = dict[str, str | bytes | None]


def context(files: Files, *, modes: dict[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = int(time.time())
            info.uid = info.gid = 1234
            data = content.encode() if isinstance(content, str) else content
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif data.startswith(b"->"):
                info.type, info.linkname = tarfile.SYMTYPE, data[2:].decode()
                data = None
            else:
                info.size = len(data)
            info.mode = (modes or {}).get(name, info.mode)
            archive.addfile(info, io.BytesIO(data) if data else None)
    return buffer.getvalue()


class Builds:
    """Builds on `base`, an image of busybox, and looks into what came out."""

    def __init__(self, engine: EngineProcess, base: str) -> None:
        self.engine = engine
        self.base = base

    def raw(self, body: bytes, **query: Any) -> tuple[int, list[dict[str, Any]] | dict[str, Any]]:
        status, answer = self.engine.api(
            "POST", "/build?" + urlencode(query, doseq=True), body, {"Content-Type": "application/x-tar"}
        )
        if isinstance(answer, dict):
            return status, answer if status != 200 else [answer]
        return status, [json.loads(line) for line in answer.splitlines() if line.strip()]

    def build(self, dockerfile: str, files: Files | None = None, **query: Any) -> list[dict[str, Any]]:
        name = query.get("dockerfile", "Dockerfile")
        status, answer = self.raw(context({**(files or {}), name: dockerfile.replace("BASE", self.base)}), **query)
        assert status == 200, answer
        assert isinstance(answer, list)
        return answer

    def ok(self, dockerfile: str, files: Files | None = None, **query: Any) -> tuple[str, str]:
        """Text and image id of a build that succeeds."""
        messages = self.build(dockerfile, files, **query)
        faults = [message["error"] for message in messages if "error" in message]
        assert not faults, faults
        text = "".join(message.get("stream", "") for message in messages)
        return text, next(message["aux"]["ID"] for message in messages if "aux" in message)

    def fault(self, dockerfile: str, files: Files | None = None, **query: Any) -> dict[str, Any]:
        messages = self.build(dockerfile, files, **query)
        assert "error" in messages[-1], messages
        return messages[-1]

    def inspect(self, image: str) -> dict[str, Any]:
        status, body = self.engine.api("GET", f"/images/{image}/json")
        assert status == 200, body
        return dict(body)

    def sh(self, image: str, command: str) -> str:
        done = self.engine.docker("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def left_over(self) -> list[str]:
        """What builds still have on disk or running; waits a while for it to go."""
        deadline = time.monotonic() + 10
        root = f"{self.engine.data_root}/build-cache"
        while True:
            places = (f"{root}/work", f"{root}/contexts", f"{self.engine.exec_root}/tasks")
            found = [name for place in places for name in os.listdir(place)]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)


def make_builds(engine_process: EngineProcess) -> Builds:
    """Import the base image; give the means to build on it."""
    with open("/bin/busybox", "rb") as file:
        busybox = file.read()
    applets = "grep sh ls cat echo true mkdir touch chmod stat id env sleep ln rm cp find pwd head sort test hostname"
    files: Files = {"bin": None, "bin/busybox": busybox, "etc": None, "tmp": None, "root": None}
    files.update({f"bin/{applet}": "->busybox" for applet in applets.split()})
    files["etc/passwd"] = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"
    files["etc/group"] = "root:x:0:\napp:x:1000:\nstaff:x:50:app\n"
    tar = context(files, modes={"bin/busybox": 0o755, "tmp": 0o1777})
    status, answer = engine_process.api(
        "POST", "/images/create?fromSrc=-&repo=build-base&tag=t", tar, {"Content-Type": "application/x-tar"}
    )
    assert status == 200, answer
    return Builds(engine_process, "build-base:t")

"""The least HTTP client that can drive a Docker engine: the same small cost on both sides of a comparison."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
from typing import Any


class Engine:
    """An engine behind a unix socket."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path.removeprefix("unix://")
        self._connection: http.client.HTTPConnection | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def pid(self) -> int:
        """The process that listens on the socket (SO_PEERCRED, unix(7))."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.path)
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(pid)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """One request on a kept connection; JSON in, JSON (or bytes) out; raises on a status of 400 and above."""
        if self._connection is None:
            self._connection = _Unix(self.path)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None and not isinstance(body, bytes) else {}
        self._connection.request(method, path, body=data, headers={**kind, **(headers or {})})
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{self.name}: {method} {path}: {answer.status} {raw[:300]!r}")
        try:
            return json.loads(raw)
        except ValueError:
            return raw

    def version(self) -> str:
        return str(self.call("GET", "/version")["Version"])


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(600)
        self.sock.connect(self._path)


def pss_kib(pid: int) -> int:
    """The proportional set size of a process (proc(5), smaps_rollup); 0 if it has gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def processes() -> dict[int, int]:
    """All processes: pid → parent's pid."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    found[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def tree(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents = processes()
    members = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in members} - members
        if not more:
            return members
        members |= more

"""The command line against a real engine: our own, or the one that SAMPAN_TEST_HOST names (a dockerd, to compare)."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import struct
import subprocess
import sys
import tarfile
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BUSYBOX = "/bin/busybox"
APPLETS = [
    "sh",
    "ls",
    "cat",
    "echo",
    "true",
    "false",
    "sleep",
    "id",
    "env",
    "stty",
    "head",
    "seq",
    "test",
    "mkdir",
    "touch",
    "kill",
    "yes",
    "ln",
    "find",
    "sort",
]
IMAGE = "sampan-cli-test:1"


class Terminal:
    """A `sampan` on a pseudo-terminal."""

    def __init__(self, command: list[str], environment: dict[str, str], rows: int, columns: int) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.read(0, 1)  # until the size is set
            os.execvpe(command[0], command, environment)
        self.resize(rows, columns)
        os.write(self._fd, b"\n")
        self._seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, text: str, timeout_s: float = 10) -> str:
        """Read until `text` has come; what came up to there."""
        deadline = time.monotonic() + timeout_s
        while text.encode() not in self._seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise AssertionError(f"{text!r} did not come, but {self._seen!r}")
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"ended without {text!r}: {self._seen!r}")
            self._seen += data
        before, _, self._seen = self._seen.partition(text.encode())
        return before.decode(errors="replace")

    def exit_code(self, timeout_s: float = 15) -> int:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if select.select([self._fd], [], [], 0.05)[0]:
                try:
                    self._seen += os.read(self._fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                os.close(self._fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._fd)
        raise AssertionError(f"it does not end: {self._seen!r}")


class Cli:
    """Runs `sampan`; names made by `name` are removed after the test."""

    def __init__(self, host: str, config: Path) -> None:
        self.environment = {**os.environ, "SAMPAN_HOST": host, "DOCKER_CONFIG": str(config), "TERM": "xterm"}
        self.environment.pop("DOCKER_HOST", None)
        self.command = [str(Path(sys.executable).parent / "sampan")]
        self._names: list[str] = []

    def __call__(
        self, *words: str, input: bytes = b"", check: bool = False, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *words],
            input=input,
            capture_output=True,
            env=self.environment,
            timeout=60,
            check=False,
            **more,
        )
        result = subprocess.CompletedProcess(
            words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        if check:
            assert result.returncode == 0, result
        return result

    def out(self, *words: str, **more: Any) -> str:
        """Standard output of a command that must succeed, without its last line break."""
        return self(*words, check=True, **more).stdout.removesuffix("\n")

    def name(self) -> str:
        name = f"sampan-cli-{uuid.uuid4().hex[:12]}"
        self._names.append(name)
        return name

    def start(self, *words: str) -> str:
        """A container that sleeps."""
        name = self.name()
        self("run", "-d", "--name", name, "--network", "none", *words, IMAGE, "sleep", "300", check=True)
        return name

    def terminal(self, *words: str, rows: int = 24, columns: int = 80) -> Terminal:
        return Terminal([*self.command, *words], self.environment, rows, columns)

    def clean(self) -> None:
        if self._names:
            self("rm", "-fv", *self._names)


def image_archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for directory in ("bin", "etc", "tmp", "root"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        archive.add(BUSYBOX, "bin/busybox", filter=lambda info: info)
        for applet in APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(info)
        passwd = b"root:x:0:0::/root:/bin/sh\n"
        info = tarfile.TarInfo("etc/passwd")
        info.size = len(passwd)
        archive.addfile(info, io.BytesIO(passwd))
    return out.getvalue()


@pytest.fixture(scope="session")
def cli_host(request: pytest.FixtureRequest) -> str:
    host = os.environ.get("SAMPAN_TEST_HOST")
    return host or str(request.getfixturevalue("engine_process").host)


@pytest.fixture(scope="session")
def make_cli(cli_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Cli]]:
    config = tmp_path_factory.mktemp("config")
    made = Cli(cli_host, config)
    made("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", "-", IMAGE, input=image_archive(), check=True)
    yield lambda: Cli(cli_host, config)
    made("rmi", "-f", IMAGE)


@pytest.fixture
def cli(make_cli: Callable[[], Cli]) -> Iterator[Cli]:
    made = make_cli()
    yield made
    made.clean()


@pytest.fixture
def image() -> str:
    return IMAGE

"""`sampan-runtime` on a real bundle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/bin/busybox").exists(), reason="needs root and busybox-static"
)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    binaries = tmp_path / "rootfs/bin"
    binaries.mkdir(parents=True)
    shutil.copy("/bin/busybox", binaries / "busybox")
    for name in ("sh", "cat", "id", "sleep", "mount", "ls", "readlink", "grep", "tty", "stty", "echo", "ps"):
        (binaries / name).symlink_to("busybox")
    (tmp_path / "rootfs/etc").mkdir()
    (tmp_path / "rootfs/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n")
    return tmp_path


@pytest.fixture
def runtime(bundle: Path) -> Iterator[Run]:
    root = bundle / "state"
    root.mkdir()

    def run(*arguments: str, **keywords: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sampan.runtime.oci_cli.main", "--root", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=bundle, timeout=20, **keywords)  # type: ignore[call-overload,no-any-return]

    yield run
    for one in root.iterdir():
        run("delete", "--force", one.name)


@pytest.fixture
def container() -> str:
    return f"sampan-test-{uuid.uuid4().hex[:8]}"


def configure(bundle: Path, runtime: Run, *command: str, **changes: object) -> None:
    (bundle / "config.json").unlink(missing_ok=True)
    assert runtime("spec").returncode == 0
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": list(command), "terminal": False, **changes}
    (bundle / "config.json").write_text(json.dumps(config))


def test_run_gives_output_and_exit_code(bundle: Path, runtime: Run, container: str) -> None:
    configure(bundle, runtime, "sh", "-c", "id -u; cat /proc/1/comm; exit 7")
    result = runtime("run", container)
    assert (result.returncode, result.stdout) == (7, "0\nsh\n")
    assert "does not exist" in runtime("state", container).stderr
    assert not Path(f"/sys/fs/cgroup/pids/{container}").exists()


def test_life(bundle: Path, runtime: Run, container: str) -> None:
    configure(bundle, runtime, "sleep", "100")
    # Its stdio must not be our pipes, which would be kept open.
    quiet = {"stdin": subprocess.DEVNULL}
    created = subprocess.run(
        [sys.executable, "-m", "sampan.runtime.oci_cli.main", "--root", str(bundle / "state"), "create", "--pid-file",
         str(bundle / "pid"), container],
        cwd=bundle, timeout=20, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert created.returncode == 0
    state = json.loads(runtime("state", container).stdout)
    assert state["status"] == "created" and (bundle / "pid").read_text() == str(state["pid"])
    assert "already exists" in runtime("create", container, **quiet).stderr
    assert runtime("start", container).returncode == 0
    assert json.loads(runtime("state", container).stdout)["status"] == "running"
    assert "already running" in runtime("start", container).stderr
    assert runtime("exec", container, "sh", "-c", "exit 9").returncode == 9
    assert runtime("exec", container, "nope").returncode == 255
    assert runtime("pause", container).returncode == 0
    assert "paused container" in runtime("exec", container, "id").stderr
    assert runtime("resume", container).returncode == 0
    assert runtime("delete", container).returncode != 0
    assert runtime("kill", container, "KILL").returncode == 0
    deadline = time.monotonic() + 5
    while json.loads(runtime("state", container).stdout)["status"] != "stopped" and time.monotonic() < deadline:
        pass
    assert "container not running" in runtime("kill", container).stderr
    assert runtime("delete", container).returncode == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nope", 'exec: "nope": executable file not found in $PATH'),
        ("/nope", 'exec: "/nope": stat /nope: no such file or directory'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_commands_that_cannot_be(bundle: Path, runtime: Run, container: str, command: str, message: str) -> None:
    configure(bundle, runtime, command)
    result = runtime("run", container)
    assert result.returncode == 1 and message in result.stderr
    assert not (bundle / "state" / container).exists()


def test_user_by_name(bundle: Path, runtime: Run, container: str) -> None:
    configure(bundle, runtime, "sh", "-c", "id -u; echo $HOME; grep CapEff /proc/self/status", user={"username": "bob"})
    assert runtime("run", container).stdout == "1000\n/home/bob\nCapEff:\t0000000000000000\n"


def test_terminal(bundle: Path, runtime: Run, container: str) -> None:
    size = {"height": 33, "width": 101}
    configure(bundle, runtime, "sh", "-c", "tty; stty size", terminal=True, consoleSize=size)
    assert runtime("run", container, stdin=subprocess.DEVNULL).stdout == "/dev/pts/0\n33 101\n"

"""`sampan-runtime` in the place of crun or runc below podman."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import BUSYBOX

Podman = Callable[..., "subprocess.CompletedProcess[str]"]
_RUNTIME = Path(sys.executable).parent / "sampan-runtime"
# podman's own defaults may exceed what this machine allows
_RUN = ("--network", "none", "--ulimit", "nofile=1024:2048", "--ulimit", "nproc=1000:1000")

pytestmark = pytest.mark.skipif(
    shutil.which("podman") is None or os.geteuid() != 0 or not os.path.exists(BUSYBOX),
    reason="needs podman and busybox-static, as root",
)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in ("sh", "id", "sleep", "ps", "cat", "tty", "echo"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    return root


@pytest.fixture
def podman() -> Iterator[Podman]:
    home = tempfile.mkdtemp(prefix="sp-", dir="/var/tmp")  # podman takes no long path
    command = [
        "podman", "--root", f"{home}/storage", "--runroot", f"{home}/run", "--runtime", str(_RUNTIME),
        "--cgroup-manager", "cgroupfs", "--events-backend", "file",
    ]  # fmt: skip

    def run(*arguments: str, terminal: bool = False) -> subprocess.CompletedProcess[str]:
        whole = [*command, *arguments]
        if terminal:
            whole = ["script", "-qec", " ".join(f"'{word}'" for word in whole), "/dev/null"]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    yield run
    run("rm", "-af", "-t", "0")
    shutil.rmtree(home, ignore_errors=True)


def test_run(podman: Podman, rootfs: Path) -> None:
    done = podman("run", "--rm", *_RUN, "--rootfs", str(rootfs), "sh", "-c", "id -u; exit 7")
    assert (done.returncode, done.stdout) == (7, "0\n"), done.stderr


def test_a_missing_command(podman: Podman, rootfs: Path) -> None:
    done = podman("run", "--rm", *_RUN, "--rootfs", str(rootfs), "/nope")
    assert done.returncode == 127
    assert "no such file or directory" in done.stderr


def test_options(podman: Podman, rootfs: Path) -> None:
    options = ["--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "--memory", "50m"]
    script = "id -u; echo x > /tmp/x && cat /tmp/x; echo x > /x"
    done = podman("run", "--rm", *options, *_RUN, "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.returncode == 1
    assert done.stdout.startswith("1000\n") and "ead-only" in done.stderr


def test_life_of_a_detached_container(podman: Podman, rootfs: Path) -> None:
    script = "trap 'exit 9' TERM; echo started; while :; do sleep 0.1; done"
    started = podman("run", "-d", "--name", "one", *_RUN, "--rootfs", str(rootfs), "sh", "-c", script)
    assert started.returncode == 0, started.stderr
    done = podman("exec", "one", "sh", "-c", "echo inside; exit 3")
    assert (done.returncode, done.stdout) == (3, "inside\n")
    assert podman("logs", "one").stdout == "started\n"
    assert podman("pause", "one").returncode == 0
    assert podman("ps", "--filter", "status=paused", "--format", "{{.Names}}").stdout == "one\n"
    assert podman("unpause", "one").returncode == 0
    assert podman("update", "--memory", "64m", "one").returncode == 0
    assert int(podman("stats", "--no-stream", "--format", "{{.PIDS}}", "one").stdout) >= 1
    assert podman("stop", "-t", "10", "one").returncode == 0
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "one").stdout == "9\n"
    assert podman("rm", "one").returncode == 0


@pytest.mark.skipif(shutil.which("script") is None, reason="needs script (Debian package bsdutils)")
def test_terminals(podman: Podman, rootfs: Path) -> None:
    done = podman("run", "--rm", "-it", *_RUN, "--rootfs", str(rootfs), "sh", "-c", "tty; exit 4", terminal=True)
    assert (done.returncode, "/dev/pts/0" in done.stdout) == (4, True), done.stdout
    podman("run", "-d", "--name", "one", *_RUN, "--rootfs", str(rootfs), "sleep", "100")
    done = podman("exec", "-it", "one", "tty", terminal=True)
    assert (done.returncode, "/dev/pts/" in done.stdout) == (0, True), done.stdout


def test_a_user_namespace(podman: Podman, rootfs: Path) -> None:
    for directory, _, files in os.walk(rootfs):
        for path in [directory, *(f"{directory}/{name}" for name in files)]:
            os.chown(path, 200000, 200000, follow_symlinks=False)
    maps = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"]
    done = podman("run", "--rm", *maps, *_RUN, "--rootfs", str(rootfs), "sh", "-c", "id -u; cat /proc/self/uid_map")
    assert done.stdout.split() == ["0", "0", "200000", "65536"], done.stderr


def test_a_pod_shares_its_namespaces(podman: Podman, rootfs: Path) -> None:
    podman("run", "-d", "--name", "one", "--hostname", "first", *_RUN, "--rootfs", str(rootfs), "sleep", "100")
    share = ["--pid", "container:one", "--ipc", "container:one", "--network", "container:one", "--uts", "container:one"]
    limits = _RUN[2:]
    done = podman(
        "run", "--rm", *share, *limits, "--rootfs", str(rootfs), "sh", "-c", "ps; cat /proc/sys/kernel/hostname"
    )
    assert "sleep 100" in done.stdout and done.stdout.endswith("first\n"), done.stderr

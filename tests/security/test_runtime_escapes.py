"""Known ways out of a container, tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/bin/busybox").exists(), reason="needs root and busybox-static"
)
Try = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    binaries = tmp_path / "rootfs/bin"
    binaries.mkdir(parents=True)
    shutil.copy("/bin/busybox", binaries / "busybox")
    for name in ("sh", "cat", "ls", "mount", "chmod", "readlink", "echo", "mknod", "stat"):
        (binaries / name).symlink_to("busybox")
    command = [sys.executable, "-m", "sampan.runtime.oci_cli.main", "--root", str(tmp_path / "state")]
    subprocess.run([*command, "spec"], cwd=tmp_path, check=True)
    base = json.loads((tmp_path / "config.json").read_text())

    def run(script: str, change: Callable[[dict[str, Any]], None] | None = None, **keywords: Any) -> Any:
        config = json.loads(json.dumps(base))
        config["process"] |= {"args": ["/bin/sh", "-c", script], "terminal": False}
        if change:
            change(config)
        (tmp_path / "config.json").write_text(json.dumps(config))
        name = f"sampan-test-{uuid.uuid4().hex[:8]}"
        arguments = [*command, "run", name]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=20, **keywords)

    return run


@pytest.mark.parametrize("number", range(3, 12))
def test_working_directory_through_a_descriptor(attempt: Try, number: int) -> None:
    """CVE-2024-21626."""
    result = attempt("echo in", lambda config: config["process"].update(cwd=f"/proc/self/fd/{number}"))
    assert result.returncode != 0 and "in\n" not in result.stdout


def test_no_descriptor_leaks(attempt: Try) -> None:
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        result = attempt("for one in /proc/$$/fd/*; do readlink $one; done", pass_fds=[leak])
    finally:
        os.close(leak)
    assert result.stdout and "/" not in result.stdout.split()


def test_proc_behind_a_symlink(attempt: Try, tmp_path: Path) -> None:
    """CVE-2019-19921."""
    (tmp_path / "rootfs/evil").mkdir()
    (tmp_path / "rootfs/proc").symlink_to("evil")
    result = attempt("echo in")
    assert result.returncode != 0 and "must be mounted on ordinary directory" in result.stderr


def test_bind_target_behind_a_symlink_stays_inside(attempt: Try, tmp_path: Path) -> None:
    """CVE-2021-30465: the target leads out of the root if it is followed by path on the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "source").write_text("x")
    (tmp_path / "rootfs/link").symlink_to(outside)
    entry = {"destination": "/link/file", "type": "bind", "source": str(tmp_path / "source"), "options": ["bind"]}
    attempt("true", lambda config: config["mounts"].append(entry))
    assert list(outside.iterdir()) == []


def test_mount_over_proc_is_refused(attempt: Try) -> None:
    entry = {"destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs", "options": []}
    result = attempt("echo in", lambda config: config["mounts"].append(entry))
    assert result.returncode != 0 and "inside /proc" in result.stderr


def test_masked_and_readonly_paths(attempt: Try) -> None:
    result = attempt("cat /proc/keys; echo 0 > /proc/sys/kernel/panic; ls /sys/firmware")
    assert result.stdout == "" and result.stderr.count("Read-only file system") == 1


def test_image_cannot_replace_the_null_device(attempt: Try, tmp_path: Path) -> None:
    """CVE-2025-31133: what masks a file must be the null device itself."""
    (tmp_path / "rootfs/dev").mkdir()
    (tmp_path / "rootfs/dev/null").symlink_to("/etc")

    def without_dev(config: dict[str, Any]) -> None:
        config["mounts"] = [one for one in config["mounts"] if not one["destination"].startswith("/dev")]

    result = attempt("echo in", without_dev)
    assert result.returncode != 0 and "in\n" not in result.stdout


def test_release_agent_cannot_be_written(attempt: Try) -> None:
    """CVE-2022-0492."""
    write = "for f in /sys/fs/cgroup/*/release_agent; do echo /evil > $f && echo written; done"
    result = attempt(f"{write}; mount -t cgroup c /bin")
    assert "written" not in result.stdout and "denied" in result.stderr


def test_interpreter_cannot_be_overwritten(tmp_path: Path) -> None:
    """CVE-2019-5736: keep a handle on /proc/<pid>/exe, wait for the process to end, open it for writing."""
    victim = tmp_path / "victim"
    shutil.copy("/bin/busybox", victim)
    code = f"""
import os
from sampan.linux.process import open_interpreter
fd = open_interpreter({str(victim)!r})
pid = os.posix_spawn(f"/proc/self/fd/{{fd}}", ["sleep", "5"], {{}}, setpgroup=0)
os.close(fd)
import time; time.sleep(0.1)
handle = os.open(f"/proc/{{pid}}/exe", os.O_PATH)
os.kill(pid, 9); os.waitpid(pid, 0)
try:
    os.open(f"/proc/self/fd/{{handle}}", os.O_WRONLY)
except OSError as error:
    print(error.errno)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert result.stdout.strip() in ("30", "1"), result.stderr  # EROFS, or EPERM for a sealed copy


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_a_path_that_cannot_be_hidden_fails_the_start(attempt: Try, tmp_path: Path, kind: str) -> None:
    """A missing path is passed over; any other failure must not leave the path open in silence."""
    (tmp_path / "rootfs/loop").symlink_to("loop")
    missing = attempt("echo in", lambda config: config["linux"].update({kind: ["/missing", "/bin/busybox/missing"]}))
    assert missing.stdout == "in\n", missing.stderr
    refused = attempt("echo in", lambda config: config["linux"].update({kind: ["/loop"]}))
    assert refused.returncode != 0 and "in" not in refused.stdout

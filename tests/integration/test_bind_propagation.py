"""Shared and slave binds: what is mounted on one side appears on the other, and only there where it was asked for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import EngineProcess


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A directory that is a shared mount of the host."""
    subprocess.run(["mount", "-t", "tmpfs", "shared", tmp_path], check=True)
    subprocess.run(["mount", "--make-shared", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-R", tmp_path], check=True)


def test_a_mount_in_a_shared_bind_appears_on_the_host(engine: EngineProcess, shared: Path) -> None:
    command = "mkdir /x/in && mount -t tmpfs t /x/in && echo hello >/x/in/file"
    done = engine.docker("run", "--rm", "--privileged", "-v", f"{shared}:/x:rshared", "busybox", "sh", "-c", command)
    assert done.returncode == 0, done.stderr
    assert (shared / "in/file").read_text() == "hello\n"


def test_a_slave_bind_hears_and_is_not_heard(engine: EngineProcess, shared: Path) -> None:
    engine.docker("run", "-d", "--name", "slave", "--privileged", "-v", f"{shared}:/x:rslave", "busybox", "sleep", "99")
    (shared / "out").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "t", shared / "out"], check=True)
    (shared / "out/file").write_text("hello")
    assert engine.docker("exec", "slave", "cat", "/x/out/file").stdout == "hello"
    engine.docker("exec", "slave", "sh", "-c", "mkdir /x/in && mount -t tmpfs t /x/in && touch /x/in/file")
    assert not (shared / "in/file").exists()


def test_a_private_mount_cannot_be_shared(engine: EngineProcess, shared: Path) -> None:
    subprocess.run(["mount", "--make-private", shared], check=True)
    done = engine.docker("run", "--rm", "-v", f"{shared}:/x:shared", "busybox", "true")
    assert f"path {shared} is mounted on {shared} but it is not a shared mount" in done.stderr
    assert done.returncode == 125

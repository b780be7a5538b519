"""A full disk: clear errors, nothing half-made, and a way out by removing things."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from tests.conftest import EngineProcess
from tests.faults import invariants
from tests.faults.conftest import EngineMaker
from tests.faults.work import tar

FULL = "no space left on device"
_SIZE_BYTES = 48 << 20
_TOO_MUCH = os.urandom(1 << 20) * 56


class Disk:
    """A small file system below an engine's directory."""

    def __init__(self, path: str, options: str) -> None:
        self.path = path
        os.makedirs(path, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "sampan-test", path], check=True)

    def fill(self) -> None:
        """To the last block."""
        for chunk in (1 << 16, 512):
            with open(f"{self.path}/filler{chunk}", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * chunk)
                except OSError:
                    pass

    def fill_inodes(self) -> None:
        os.makedirs(f"{self.path}/filler", exist_ok=True)
        try:
            for number in range(1 << 20):
                os.close(os.open(f"{self.path}/filler/{number}", os.O_CREAT | os.O_WRONLY))
        except OSError:
            pass

    def free(self) -> None:
        subprocess.run(f"rm -rf {self.path}/filler*", shell=True, check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def disk(request: pytest.FixtureRequest, make_engine: EngineMaker) -> Iterator[tuple[EngineProcess, Disk]]:
    """An engine whose data root, or what the parameter says, is small."""
    kind, options = getattr(request, "param", ("data", f"size={_SIZE_BYTES}"))
    mounted: list[Disk] = []

    def mount(engine: EngineProcess) -> None:
        mounted.append(Disk(f"{engine.root}/{kind}", options))

    engine = make_engine(mount)
    yield engine, mounted[0]
    mounted[0].free()
    if engine.process is None or engine.process.poll() is not None:
        engine.start()
    engine.remove_all_containers()
    engine.stop()
    mounted[0].unmount()


def test_what_does_not_fit_fails_and_leaves_nothing(disk: tuple[EngineProcess, Disk]) -> None:
    engine, _ = disk
    assert engine.docker("run", "-d", "--name", "live", "busybox", "sleep", "1000").returncode == 0
    assert FULL in engine.docker("import", "-", "big", input=tar({"f": _TOO_MUCH})).stderr
    assert FULL in engine.docker("cp", "-", "live:/tmp", input=tar({"f": _TOO_MUCH})).stderr
    assert engine.docker("exec", "live", "rm", "-f", "/tmp/f").returncode == 0
    context = tar({"Dockerfile": b"FROM busybox\nCOPY f /f\n", "f": _TOO_MUCH})
    assert FULL in engine.docker("build", "-", input=context).stderr
    written = engine.docker("run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/f", "bs=1M", "count=80")
    assert (written.returncode, FULL in written.stderr.lower()) == (1, True)
    assert engine.docker("exec", "live", "dd", "if=/dev/zero", "of=/f", "bs=1M", "count=24").returncode == 0
    assert FULL in engine.docker("commit", "live", "half").stderr
    assert engine.docker("rm", "-f", "live").returncode == 0
    invariants.check(engine)
    assert engine.docker("images", "-q").stdout.count("\n") == 1


def test_a_full_disk_stops_neither_ends_nor_removals(disk: tuple[EngineProcess, Disk]) -> None:
    engine, small = disk
    for name in ("first", "second"):
        assert engine.docker("run", "-d", "--name", name, "busybox", "sleep", "1000").returncode == 0
    small.fill()
    refused = engine.docker("run", "--name", "third", "busybox", "true")
    assert (refused.returncode, FULL in refused.stderr) == (125, True)
    assert engine.docker("commit", "first", "full").returncode == 1
    assert engine.docker("exec", "first", "echo", "alive").stdout == "alive\n"
    assert engine.docker("stop", "-t", "0", "first").returncode == 0
    state = engine.api("GET", "/containers/first/json")[1]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    assert engine.docker("rm", "first", "third").returncode == 0
    invariants.check(engine)
    engine.kill()
    engine.start()
    assert engine.api("GET", "/containers/second/json")[1]["State"]["Running"]
    assert engine.docker("rm", "-f", "second").returncode == 0
    small.free()
    assert engine.docker("run", "--rm", "busybox", "echo", "again").stdout == "again\n"
    invariants.check(engine)


def test_an_exit_code_survives_a_full_disk_without_an_engine(disk: tuple[EngineProcess, Disk]) -> None:
    engine, small = disk
    shared = f"{engine.root}/shared"
    os.makedirs(shared)
    command = ("sh", "-c", "while [ ! -e /shared/go ]; do sleep 0.05; done; exit 42")
    assert engine.docker("run", "-d", "--name", "late", "-v", f"{shared}:/shared", "busybox", *command).returncode == 0
    small.fill()
    engine.kill()
    open(f"{shared}/go", "wb").close()
    engine.start()
    assert engine.docker("wait", "late").stdout == "42\n"
    engine.stop()
    engine.start()
    assert engine.api("GET", "/containers/late/json")[1]["State"]["ExitCode"] == 42


@pytest.mark.parametrize("disk", [("run", "size=2m")], indirect=True)
def test_a_full_exec_root_is_told_and_got_over(disk: tuple[EngineProcess, Disk]) -> None:
    engine, small = disk
    small.fill()
    refused = engine.docker("run", "--name", "refused", "busybox", "true")
    assert (refused.returncode, FULL in refused.stderr) == (125, True)
    invariants.check(engine)
    small.free()
    assert engine.docker("start", "-a", "refused").returncode == 0
    invariants.check(engine)


@pytest.mark.parametrize("disk", [("data", f"size={_SIZE_BYTES},nr_inodes=900")], indirect=True)
def test_a_disk_without_inodes_is_told_and_got_over(disk: tuple[EngineProcess, Disk]) -> None:
    engine, small = disk
    assert engine.docker("run", "-d", "--name", "first", "busybox", "sleep", "1000").returncode == 0
    small.fill_inodes()
    refused = engine.docker("run", "--rm", "busybox", "true")
    assert (refused.returncode, FULL in refused.stderr) == (125, True)
    built = engine.docker("build", "-", input=tar({"Dockerfile": b"FROM busybox\nRUN echo > /a\n"}))
    assert built.returncode == 1 and FULL in built.stderr
    assert engine.docker("rm", "-f", "first").returncode == 0
    invariants.check(engine)
    engine.stop()
    assert "builds did not end" not in engine.log_tail()
    small.free()
    engine.start()
    assert engine.docker("run", "--rm", "busybox", "echo", "again").stdout == "again\n"
    invariants.check(engine)

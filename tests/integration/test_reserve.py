"""Starts by a process that was cloned ahead of them, and what happens when there is none or it is not the right one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.ship import BUSYBOX, CGROUP, TIMEOUT_S, Ship, Terminal, ended, make_root

from sampan.linux.cgroup import open_cgroup, version

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs busybox-static"),
    pytest.mark.skipif(version() != 1, reason="on cgroup v2 clone3 puts a new process into its group"),
]


@pytest.fixture(scope="module")
def lower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("lower"))


@pytest.fixture
async def ship(tmp_path: Path, lower: Path) -> AsyncIterator[Ship]:
    ship = Ship(tmp_path, lower)
    yield ship
    await ship.finish()


@pytest.fixture(scope="module", autouse=True)
def no_cgroups_left() -> Iterator[None]:
    yield
    open_cgroup(CGROUP).remove()


@pytest.fixture
def netns() -> Iterator[int]:
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


async def waiting(ship: Ship) -> tuple[int, int]:
    """(launcher, reserve) of the zygote's spare."""
    for _ in range(int(TIMEOUT_S / 0.01)):
        for spare in children(ship.zygote.pid):
            for launcher in children(spare):
                for reserve in children(launcher):
                    if os.readlink(f"/proc/{reserve}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                        return launcher, reserve
        await asyncio.sleep(0.01)
    raise AssertionError("no process waits")


async def test_it_becomes_the_container(ship: Ship, netns: int) -> None:
    _, reserve = await waiting(ship)
    client = Terminal(framed=False)
    spec = ship.spec("a", "sh", "-c", "hostname; echo $$; exit 3", netns_fd=netns, attachments=[client.attachment])
    spec.config["hostname"] = "boat"
    task = await ship.tasks.start(spec)
    assert task.pid == reserve
    assert (await client.read()).split() == [b"boat", b"1"]
    assert (await ended(task)).exit_code == 3


async def test_it_sees_what_was_mounted_after_it_was_made(ship: Ship, netns: int, tmp_path: Path) -> None:
    _, reserve = await waiting(ship)
    late = tmp_path / "late"
    late.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", late], check=True)
    try:
        (late / "cargo").write_text("rice")
        client = Terminal(framed=False)
        spec = ship.spec("a", "cat", "/tmp/cargo", netns_fd=netns, attachments=[client.attachment])
        spec.config["mounts"].append({"destination": "/tmp", "source": str(late), "options": ["rbind"]})
        task = await ship.tasks.start(spec)
        assert task.pid == reserve
        assert await client.read() == b"rice"
        await task.gone.wait()
    finally:
        subprocess.run(["umount", late], check=True)


async def test_another_is_cloned_when_it_is_dead(ship: Ship, netns: int) -> None:
    _, reserve = await waiting(ship)
    os.kill(reserve, signal.SIGKILL)
    task = await ship.tasks.start(ship.spec("a", "true", netns_fd=netns))
    assert task.pid != reserve
    assert (await ended(task)).exit_code == 0


async def test_another_is_cloned_when_other_namespaces_are_wanted(ship: Ship, netns: int) -> None:
    _, reserve = await waiting(ship)
    client = Terminal(framed=False)
    spec = ship.spec("a", "readlink", "/proc/self/ns/ipc", netns_fd=netns, attachments=[client.attachment])
    spec.config["linux"]["namespaces"] = [{"type": one} for one in ("mount", "pid", "uts")]
    task = await ship.tasks.start(spec)
    assert task.pid != reserve
    assert (await client.read()).strip().decode() == os.readlink("/proc/self/ns/ipc")
    await task.gone.wait()
    assert not os.path.exists(f"/proc/{reserve}")


async def test_its_errors_are_those_of_the_start(ship: Ship, netns: int) -> None:
    await waiting(ship)
    with pytest.raises(Exception, match="/does/not/exist"):
        spec = ship.spec("a", "true", netns_fd=netns)
        spec.config["mounts"].append({"destination": "/tmp", "source": "/does/not/exist", "options": ["rbind"]})
        await ship.tasks.start(spec)
    assert os.listdir(ship.root / "run/tasks") == []


async def test_it_ends_with_its_launcher(ship: Ship) -> None:
    launcher, reserve = await waiting(ship)
    os.kill(launcher, signal.SIGKILL)
    for _ in range(int(TIMEOUT_S / 0.01)):
        if not os.path.exists(f"/proc/{reserve}/exe"):
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("it waits for ever")
    assert (await waiting(ship))[1] != reserve

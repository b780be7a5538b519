"""Tasks on real containers: the way from a spec over zygote, launcher and shim to a process, and what survives what."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ship import BUSYBOX, CGROUP, TIMEOUT_S, Ship, Terminal, ended, make_root, streams

from sampan import errors

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs busybox-static"),
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
    from sampan.linux.cgroup import open_cgroup

    open_cgroup(CGROUP).remove()


async def test_output_exit_code_and_log(ship: Ship) -> None:
    client = Terminal()
    spec = ship.spec("a", "sh", "-c", "echo out; echo err >&2; exit 7", attachments=[client.attachment])
    task = await ship.tasks.start(spec)
    assert streams(await client.read()) == {1: b"out\n", 2: b"err\n"}
    assert (await ended(task)).exit_code == 7
    assert sorted(ship.log("a").splitlines()) == [b"err", b"out"]
    await task.gone.wait()
    assert json.loads((ship.root / "state/a/exit.json").read_text())["exit_code"] == 7


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGKILL, 137), (signal.SIGTERM, 143)])
async def test_signals(ship: Ship, number: int, exit_code: int) -> None:
    script = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.02; done"
    client = Terminal(framed=False)
    task = await ship.tasks.start(ship.spec("a", "sh", "-c", script, attachments=[client.attachment]))
    await client.read_until(b"ready")
    await task.signal(number)
    assert (await ended(task)).exit_code == exit_code


@pytest.mark.parametrize(
    ("command", "kind"),
    [("nope", errors.CommandNotFound), ("/etc/passwd", errors.CommandNotExecutable), ("/etc", errors.SampanError)],
)
async def test_a_failed_start_leaves_nothing_and_closes_the_client(
    ship: Ship, command: str, kind: type[Exception]
) -> None:
    client = Terminal()
    with pytest.raises(kind, match="exec:"):
        await ship.tasks.start(ship.spec("a", command, attachments=[client.attachment]))
    assert await client.read() == b""
    assert os.listdir(ship.root / "run/tasks") == []


async def test_start_again_after_the_exit(ship: Ship) -> None:
    for number in range(3):
        task = await ship.tasks.start(ship.spec("a", "sh", "-c", f"exit {number}"))
        assert (await ended(task)).exit_code == number


async def test_stdin_to_its_end(ship: Ship) -> None:
    client = Terminal(stdin=True, preload=b"before ")
    spec = ship.spec("a", "wc", "-c", open_stdin=True, stdin_once=True, attachments=[client.attachment])
    await ship.tasks.start(spec)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client.sock, b"x" * 1_000_000)
    client.sock.shutdown(socket.SHUT_WR)
    assert streams(await client.read())[1].strip() == b"1000007"


async def test_tty_size_resize_and_input(ship: Ship) -> None:
    client = Terminal(stdin=True, framed=False)
    script = "stty size; read line; stty size; echo got $line"
    spec = ship.spec("a", "sh", "-c", script, tty=True, open_stdin=True, console_size=(30, 100))
    spec.attachments.append(client.attachment)
    task = await ship.tasks.start(spec)
    output = await client.read_until(b"30 100")
    await task.resize(40, 120)
    client.sock.send(b"word\n")
    output += await client.read()
    assert b"40 120" in output and b"got word" in output
    assert (await ended(task)).exit_code == 0


async def test_detach_keys_leave_the_container_running(ship: Ship) -> None:
    client = Terminal(stdin=True, framed=False)
    spec = ship.spec("a", "cat", tty=True, open_stdin=True, attachments=[client.attachment])
    task = await ship.tasks.start(spec)
    client.sock.send(b"hi\n")
    await client.read_until(b"hi")
    client.sock.send(b"\x10\x11")
    await client.read()
    assert task.exit is None


async def test_exec_streams_codes_and_inspect_before_eof(ship: Ship) -> None:
    task = await ship.tasks.start(ship.spec("a", "sleep", "1000"))
    codes: dict[str, int] = {}
    ship.tasks.on_exec_exit = lambda _task, exec_id, code: codes.update({exec_id: code})
    client = Terminal(stdin=True)
    script = "cat; echo $EXTRA $PATH >&2; id -u; exit 3"
    process = {"args": ["sh", "-c", script], "env": ["EXTRA=1"], "user": {"uid": 0, "gid": 0, "username": "user"}}
    pid = await task.exec("x", process, open_stdin=True, attachment=client.attachment)
    assert os.path.exists(f"/proc/{pid}")
    client.sock.send(b"input\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert streams(await client.read()) == {1: b"input\n1000\n", 2: b"1 /bin\n"}
    assert codes == {"x": 3}
    with pytest.raises(errors.CommandNotFound, match='exec: "nope": executable file not found'):
        await task.exec("y", {"args": ["nope"]})


async def test_exec_tty(ship: Ship) -> None:
    task = await ship.tasks.start(ship.spec("a", "sleep", "1000"))
    client = Terminal(framed=False)
    process = {"args": ["sh", "-c", "stty size; tty"]}
    await task.exec("x", process, tty=True, attachment=client.attachment, console_size=(11, 22))
    output = await client.read()
    assert b"11 22" in output and b"/dev/pts/" in output


async def test_no_descriptor_leaks_into_a_container(ship: Ship) -> None:
    for run, task_id in ((False, "a"), (True, "b")):
        client = Terminal(framed=False)
        command = ["sh", "-c", "ls /proc/self/fd; echo; readlink /proc/self/cwd"]
        if run:
            task = await ship.tasks.start(ship.spec(task_id, "sleep", "1000"))
            await task.exec("x", {"args": command}, attachment=client.attachment)
        else:
            await ship.tasks.start(ship.spec(task_id, *command, attachments=[client.attachment]))
        listing, _, cwd = (await client.read()).decode().partition("\n\n")
        assert sorted(listing.split()) == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
        assert cwd.strip() == "/"


async def test_much_output_through_a_slow_client_loses_nothing(ship: Ship) -> None:
    client = Terminal()
    spec = ship.spec("a", "sh", "-c", "seq 1 300000", attachments=[client.attachment])
    task = await ship.tasks.start(spec)
    await asyncio.sleep(0.3)
    assert task.exit is None  # it waits for us
    expected = b"".join(b"%d\n" % number for number in range(1, 300_001))
    assert streams(await client.read())[1] == expected
    assert ship.log("a") == expected


async def test_attach_later_with_the_log_first(ship: Ship) -> None:
    first = Terminal(stdin=True, framed=False)
    spec = ship.spec("a", "cat", open_stdin=True, attachments=[first.attachment])
    task = await ship.tasks.start(spec)
    first.sock.send(b"one\n")
    await first.read_until(b"one\n")
    second = Terminal(framed=False, logs=True)
    await task.attach(second.attachment)
    first.sock.send(b"two\n")
    assert await second.read_until(b"two\n") == b"one\ntwo\n"


async def test_log_written_wakes_a_follower(ship: Ship) -> None:
    client = Terminal(stdin=True, framed=False)
    task = await ship.tasks.start(ship.spec("a", "cat", open_stdin=True, attachments=[client.attachment]))
    seen = await asyncio.wait_for(task.log_written(-1), TIMEOUT_S)
    waiting = asyncio.ensure_future(task.log_written(seen))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    client.sock.send(b"x\n")
    assert await asyncio.wait_for(waiting, TIMEOUT_S) == seen + 1


async def test_kill_of_the_zygote_harms_nobody(ship: Ship) -> None:
    before = await ship.tasks.start(ship.spec("a", "sleep", "1000"))
    os.kill(ship.zygote.pid, signal.SIGKILL)
    await asyncio.sleep(0.05)
    after = await ship.tasks.start(ship.spec("b", "true"))
    assert (await ended(after)).exit_code == 0
    assert before.exit is None
    await before.signal(signal.SIGTERM)


async def test_kill_of_a_shim_ends_and_collects_its_container(ship: Ship) -> None:
    task = await ship.tasks.start(ship.spec("a", "sleep", "1000"))
    other = await ship.tasks.start(ship.spec("b", "sleep", "1000"))
    os.kill(ship.shim_pid("a"), signal.SIGKILL)
    assert (await ended(task)).exit_code == 137
    await asyncio.wait_for(task.gone.wait(), TIMEOUT_S)
    assert not os.path.exists(f"/proc/{task.pid}/root/bin")
    assert os.listdir(ship.root / "run/tasks") == ["b"]
    assert other.exit is None


async def test_containers_clients_logs_and_exits_survive_the_engine(ship: Ship) -> None:
    client = Terminal(stdin=True, framed=False)
    spec = ship.spec("live", "cat", tty=True, open_stdin=True, attachments=[client.attachment])
    pid = (await ship.tasks.start(spec)).pid
    await ship.tasks.start(ship.spec("ends", "sh", "-c", "sleep 0.2; echo meanwhile; exit 5"))
    await ship.tasks.start(ship.spec("orphan", "sleep", "1000"))
    shim = ship.shim_pid("orphan")
    await ship.tasks.close()
    client.sock.send(b"without engine\n")
    await client.read_until(b"without engine")
    os.kill(shim, signal.SIGKILL)
    await asyncio.sleep(0.5)
    found = {task.id: task for task in await ship.restart()}
    assert found["live"].exit is None and found["live"].pid == pid
    assert found["ends"].exit is not None and found["ends"].exit.exit_code == 5
    assert ship.log("ends") == b"meanwhile\n"
    assert found["orphan"].exit is not None and found["orphan"].exit.exit_code == 137
    await found["live"].resize(10, 20)
    await found["live"].signal(signal.SIGKILL)
    assert (await ended(found["live"])).exit_code == 137
    await asyncio.wait_for(found["live"].gone.wait(), TIMEOUT_S)
    assert await ship.restart() == []


async def test_memory_of_an_idle_shim(ship: Ship) -> None:
    count = 8
    for number in range(count):
        await ship.tasks.start(ship.spec(f"c{number}", "sleep", "1000"))
    await asyncio.sleep(0.2)
    private = []
    for number in range(count):
        rollup = Path(f"/proc/{ship.shim_pid(f'c{number}')}/smaps_rollup").read_text()
        fields = dict(line.split(":") for line in rollup.splitlines()[1:])
        private.append(sum(int(fields[key].split()[0]) for key in ("Private_Dirty", "Private_Clean")))
    assert max(private) <= 768, private  # KiB


@pytest.mark.parametrize("running", [True, False])
async def test_operations_in_a_root_are_confined(ship: Ship, running: bool, tmp_path: Path) -> None:
    spec = ship.spec("a", "sleep", "1000")
    os.symlink("/../../../../../../etc", tmp_path / "state/a/diff/escape")
    target: dict[str, Any] = spec.rootfs
    if running:
        task = await ship.tasks.start(spec)
        target = {"kind": "process", "pid": task.pid}
    else:
        volume = tmp_path / "volume"
        volume.mkdir()
        (volume / "file").write_text("in the volume")
        bind = {"type": "bind", "source": str(volume), "destination": "/new/place", "options": ["rbind", "ro"]}
        target = {**target, "mounts": [bind]}
        assert (await ship.tasks.in_rootfs(target, "stat_path", {"path": "/new/place/file"}))["size"] == 13
    for _ in range(50):  # the worker must not die with the spare shim that it came from
        await ship.tasks.in_rootfs(target, "stat_path", {"path": "/etc/passwd"})
    found = await ship.tasks.in_rootfs(target, "stat_path", {"path": "/escape/passwd"})
    assert found["size"] == (ship.lower / "etc/passwd").stat().st_size
    with pytest.raises(errors.NotFound):
        await ship.tasks.in_rootfs(target, "stat_path", {"path": "/nothing"})
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.close(read_end)
    await ship.tasks.in_rootfs(target, "archive_get", {"path": "/bin"}, [write_end])
    os.close(write_end)


async def test_a_cancelled_operation_dies(ship: Ship) -> None:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    work = asyncio.ensure_future(
        ship.tasks.in_rootfs(ship.spec("a", "x").rootfs, "archive_get", {"path": "/bin"}, [write_end])
    )
    await asyncio.sleep(0.2)  # busybox fills the pipe: the worker waits for a reader
    os.close(write_end)
    assert not work.done()
    work.cancel()
    poller = select.poll()
    poller.register(read_end, 0)  # only the hang-up: no writer is left
    assert await asyncio.to_thread(poller.poll, TIMEOUT_S * 1000)
    os.close(read_end)

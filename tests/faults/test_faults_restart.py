"""What a new sampand makes of what an earlier one left: half-done changes, a reboot, damaged files, stale sockets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from typing import Any

import pytest
from tests.conftest import BIN, EngineProcess
from tests.faults import invariants
from tests.faults.conftest import EngineMaker
from tests.faults.footprint import Footprint


def _inspect(engine: EngineProcess, name: str) -> dict[str, Any]:
    status, answer = engine.api("GET", f"/containers/{name}/json")
    assert status == 200, answer
    seen: dict[str, Any] = answer
    return seen


def _rows(engine: EngineProcess) -> sqlite3.Connection:
    return sqlite3.connect(f"{engine.data_root}/sampan.db")


def _run(engine: EngineProcess, *arguments: str) -> None:
    done = engine.docker("run", "-d", *arguments)
    assert done.returncode == 0, done.stderr


def _await_running(engine: EngineProcess, name: str) -> dict[str, Any]:
    for _ in range(100):
        seen = _inspect(engine, name)
        if seen["State"]["Status"] == "running":
            return seen
        time.sleep(0.1)
    raise AssertionError(f"{name} does not run: {seen['State']}")


def test_a_start_that_was_not_recorded_is_found_with_its_network(own_engine: EngineProcess) -> None:
    _run(own_engine, "--name", "found", "-p", "20080:80", "busybox", "sleep", "1000")
    before = _inspect(own_engine, "found")
    own_engine.kill()
    with _rows(own_engine) as database:
        ((container_id, text),) = database.execute("SELECT id, record FROM containers").fetchall()
        record = json.loads(text)
        record["state"] |= {"status": "exited", "pid": 0, "exit_code": 9, "error": "old", "stopped_by_user": True}
        record |= {"endpoint_states": {}, "ports": {}}
        database.execute("UPDATE containers SET record = ? WHERE id = ?", (json.dumps(record).encode(), container_id))
    own_engine.start()
    after = _inspect(own_engine, "found")
    assert after["State"]["Running"] and after["State"]["Pid"] == before["State"]["Pid"]
    assert (after["State"]["ExitCode"], after["State"]["Error"]) == (0, "")
    assert after["NetworkSettings"]["Networks"] == before["NetworkSettings"]["Networks"]
    assert after["NetworkSettings"]["Ports"] == before["NetworkSettings"]["Ports"]
    invariants.check(own_engine)


def test_a_disconnect_that_was_cut_short_is_finished(own_engine: EngineProcess) -> None:
    own_engine.docker("network", "create", "left")
    _run(own_engine, "--name", "member", "busybox", "sleep", "1000")
    assert own_engine.docker("network", "connect", "left", "member").returncode == 0
    own_engine.kill()
    with _rows(own_engine) as database:
        bodies = [json.loads(row[0]) for row in database.execute("SELECT body FROM endpoints")]
    (veth,) = [body["host_veth"] for body in bodies if body["network_name"] == "left"]
    subprocess.run(["ip", "link", "delete", veth], check=True)
    own_engine.start()
    assert set(_inspect(own_engine, "member")["NetworkSettings"]["Networks"]) == {"bridge"}
    invariants.check(own_engine)
    assert own_engine.docker("network", "rm", "left").returncode == 0


def test_a_connect_that_was_cut_short_is_undone(own_engine: EngineProcess) -> None:
    own_engine.docker("network", "create", "late")
    _run(own_engine, "--name", "member", "busybox", "sleep", "1000")
    with _rows(own_engine) as database:
        ((container_id, before),) = database.execute("SELECT id, record FROM containers").fetchall()
    assert own_engine.docker("network", "connect", "late", "member").returncode == 0
    own_engine.kill()
    with _rows(own_engine) as database:
        database.execute("UPDATE containers SET record = ? WHERE id = ?", (before, container_id))
    own_engine.start()
    assert set(_inspect(own_engine, "member")["NetworkSettings"]["Networks"]) == {"bridge"}
    invariants.check(own_engine)
    links = own_engine.docker("exec", "member", "ip", "link").stdout
    assert "eth0" in links and "eth1" not in links


def test_a_network_removal_that_was_cut_short_leaves_no_bridge(own_engine: EngineProcess) -> None:
    own_engine.docker("network", "create", "gone")
    assert len(Footprint(own_engine).bridges()) == 2
    own_engine.kill()
    with _rows(own_engine) as database:
        database.execute("DELETE FROM networks WHERE CAST(body AS TEXT) LIKE '%\"gone\"%'")
    own_engine.start()
    invariants.check(own_engine)
    assert len(Footprint(own_engine).bridges()) == 1


def test_a_pause_that_was_cut_short_is_undone(own_engine: EngineProcess) -> None:
    _run(own_engine, "--name", "frozen", "busybox", "sleep", "1000")
    with _rows(own_engine) as database:
        ((container_id, before),) = database.execute("SELECT id, record FROM containers").fetchall()
    assert own_engine.docker("pause", "frozen").returncode == 0
    own_engine.kill()
    with _rows(own_engine) as database:
        database.execute("UPDATE containers SET record = ? WHERE id = ?", (before, container_id))
    own_engine.start()
    assert _inspect(own_engine, "frozen")["State"]["Status"] == "running"
    assert own_engine.docker("exec", "frozen", "echo", "thawed", timeout=10).stdout == "thawed\n"
    assert own_engine.docker("rm", "-f", "frozen", timeout=10).returncode == 0


def test_what_the_user_stopped_stays_stopped_even_if_the_engine_dies_over_it(
    own_engine: EngineProcess, docker_cli: None
) -> None:
    trap = "trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done"
    _run(own_engine, "--name", "stopped", "--restart", "unless-stopped", "busybox", "sh", "-c", trap)
    stopping = subprocess.Popen(
        ["docker", "stop", "stopped"],
        env={**os.environ, "DOCKER_HOST": own_engine.host},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.4)
    own_engine.kill()
    stopping.wait()
    time.sleep(1)
    own_engine.start()
    time.sleep(0.5)
    state = _inspect(own_engine, "stopped")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)


def test_after_a_reboot_containers_have_ended_and_those_with_a_policy_run_again(own_engine: EngineProcess) -> None:
    assert own_engine.docker("network", "create", "kept").returncode == 0
    _run(own_engine, "--name", "once", "-v", "kept:/v", "busybox", "sh", "-c", "echo said; sleep 1000")
    _run(
        own_engine,
        "--name",
        "ever",
        "--restart",
        "always",
        "--network",
        "kept",
        "-p",
        "20081:80",
        "busybox",
        "sleep",
        "1000",
    )
    _run(own_engine, "--rm", "--name", "temporary", "busybox", "sleep", "1000")
    assert own_engine.docker("create", "--name", "never", "busybox", "true").returncode == 0
    _power_cut(own_engine)
    own_engine.start()
    state = _await_running(own_engine, "ever")
    assert state["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "20081"
    assert "kept" in state["NetworkSettings"]["Networks"]
    once = _inspect(own_engine, "once")["State"]
    assert (once["Status"], once["ExitCode"]) == ("exited", 137)
    assert own_engine.docker("logs", "once").stdout == "said\n"
    assert _inspect(own_engine, "never")["State"]["Status"] == "created"
    invariants.check(own_engine)
    assert own_engine.api("GET", "/containers/temporary/json")[0] == 404
    assert own_engine.docker("start", "once").returncode == 0


def _power_cut(engine: EngineProcess) -> None:
    """No process lives, no interface, no table, no cgroup, and the exec root is empty."""
    footprint = Footprint(engine)
    pids = [engine.pid, *footprint.container_processes(), *footprint.processes()]
    os.kill(engine.pid, signal.SIGSTOP)  # it must not see the others end
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    engine.kill()
    for name in (*footprint.veths(), *footprint.bridges()):
        subprocess.run(["ip", "link", "delete", name], stderr=subprocess.DEVNULL, check=False)
    for table in footprint.tables():
        subprocess.run(["nft", "delete", *table.split()], check=True)
    for _ in range(100):
        if not footprint.container_processes():
            break
        time.sleep(0.05)
    footprint.remove_cgroups()
    shutil.rmtree(engine.exec_root)


def test_a_second_engine_on_the_same_roots_says_so_and_harms_nothing(own_engine: EngineProcess) -> None:
    _run(own_engine, "--name", "there", "busybox", "sleep", "1000")
    roots = ["--data-root", own_engine.data_root, "--exec-root", own_engine.exec_root]
    second = subprocess.run([BIN / "sampand", *roots], capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert f"another engine runs on {own_engine.exec_root}" in second.stderr
    assert _inspect(own_engine, "there")["State"]["Running"]


def test_a_second_engine_on_the_same_data_root_says_so(own_engine: EngineProcess) -> None:
    roots = ["--data-root", own_engine.data_root, "--exec-root", f"{own_engine.root}/run2"]
    second = subprocess.run([BIN / "sampand", *roots], capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert f"another engine runs on {own_engine.data_root}" in second.stderr


def test_stale_files_of_a_dead_engine_are_no_obstacle(own_engine: EngineProcess) -> None:
    own_engine.kill()
    assert os.path.exists(own_engine.socket) and os.path.exists(f"{own_engine.exec_root}/sampand.pid")
    own_engine.start()
    with open(f"{own_engine.exec_root}/sampand.pid", encoding="ascii") as file:
        assert int(file.read()) == own_engine.pid


def _refused(engine: EngineProcess) -> str:
    roots = ["--data-root", engine.data_root, "--exec-root", engine.exec_root]
    done = subprocess.run([BIN / "sampand", *roots, "-H", engine.host], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("damage", [b"this is no database, whatever its name says " * 200, b"\0" * 8192])
def test_a_damaged_database_is_named_and_left_alone(own_engine: EngineProcess, damage: bytes) -> None:
    own_engine.stop()
    path = f"{own_engine.data_root}/sampan.db"
    shutil.copy(path, f"{path}.good")
    with open(path, "wb") as file:
        file.write(damage)
    assert path in _refused(own_engine)
    with open(path, "rb") as file:
        assert file.read() == damage
    os.rename(f"{path}.good", path)
    own_engine.start()
    assert own_engine.docker("images", "-q").stdout


def test_a_database_of_a_newer_version_is_refused_untouched(own_engine: EngineProcess) -> None:
    own_engine.stop()
    with _rows(own_engine) as database:
        database.execute("UPDATE schema_version SET version = version + 7 WHERE owner = 'containers'")
    assert "was written by a newer Sampan" in _refused(own_engine)
    with _rows(own_engine) as database:
        database.execute("UPDATE schema_version SET version = version - 7 WHERE owner = 'containers'")
    own_engine.start()


def test_hangup_is_no_reason_to_end(own_engine: EngineProcess) -> None:
    os.kill(own_engine.pid, signal.SIGHUP)
    time.sleep(0.2)
    assert own_engine.api("GET", "/_ping")[0] == 200


def test_engines_side_by_side_do_not_touch_each_other(make_engine: EngineMaker) -> None:
    left, right = make_engine(), make_engine()
    for engine, port in ((left, 20082), (right, 20083)):
        _run(engine, "--name", "same", "-p", f"{port}:80", "busybox", "sleep", "1000")
    taken = right.docker("run", "-d", "-p", "20082:80", "busybox", "sleep", "1000")
    assert taken.returncode == 125 and "port is already allocated" in taken.stderr
    right.remove_all_containers()
    _run(right, "--name", "same", "-p", "20083:80", "busybox", "sleep", "1000")
    left.kill()
    left.start()
    invariants.check(left)
    invariants.check(right)
    left.remove_all_containers()
    left.stop()
    invariants.check_stopped(left)
    invariants.check(right)
    assert _inspect(right, "same")["State"]["Running"]

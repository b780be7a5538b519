"""Each cgroup version that this machine has mounted against `sampan.linux.cgroup.interfaces.Cgroup`.

On a hybrid machine the controllers are v1's; v2 is tested on the unified hierarchy beside them, as far as that goes.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from sampan.linux.cgroup import ROOT, v1, v2, version
from sampan.linux.cgroup.interfaces import Cgroup

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")

_UNIFIED = ROOT if version() == 2 else f"{ROOT}/unified"


@pytest.fixture(params=["v1", "v2"])
def group(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cgroup]:
    """A group of each version in turn, not yet there."""
    path = f"/sampan-test-{secrets.token_hex(4)}/inner"
    found: Cgroup
    if request.param == "v2":
        if not os.path.exists(f"{_UNIFIED}/cgroup.procs"):
            pytest.skip("no unified hierarchy is mounted")
        monkeypatch.setattr(v2, "ROOT", _UNIFIED)
        found = v2.CgroupV2(path)
    else:
        if not v1.hierarchies():
            pytest.skip("no v1 hierarchy is mounted")
        found = v1.CgroupV1(path)
    yield found
    found.kill_all()
    found.remove()
    for directory in set(found.paths().values()):
        if os.path.isdir(os.path.dirname(directory)):
            os.rmdir(os.path.dirname(directory))


@pytest.fixture
def sleeper() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def has_controllers(group: Cgroup) -> bool:
    return any(os.path.exists(f"{path}/pids.max") for path in group.paths().values())


def test_a_name_touches_nothing(group: Cgroup) -> None:
    assert not group.exists()
    assert group.pids() == []
    group.kill_all()
    group.remove()


def test_it_is_made_with_its_parents_and_made_once(group: Cgroup) -> None:
    group.create()
    group.create()
    assert group.exists()
    assert all(os.path.isdir(directory) for directory in group.paths().values())
    group.remove()
    assert not group.exists()
    assert not any(os.path.exists(directory) for directory in group.paths().values())


def test_a_process_is_in_every_hierarchy(group: Cgroup, sleeper: Callable[[], subprocess.Popen[bytes]]) -> None:
    group.create()
    process = sleeper()
    group.add(process.pid)
    assert group.pids() == [process.pid]
    for directory in group.paths().values():
        with open(f"{directory}/cgroup.procs", encoding="ascii") as procs:
            assert procs.read().split() == [str(process.pid)]


def test_a_process_can_move_itself_in(group: Cgroup) -> None:
    group.create()
    descriptors = group.join_files(always=True)
    child = os.fork()
    if child == 0:
        for descriptor in descriptors:
            os.write(descriptor, b"0")
        signal.pause()
        os._exit(0)
    try:
        for _ in range(2000):
            if group.pids() == [child]:
                break
        assert group.pids() == [child]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_processes_of_groups_below_count(group: Cgroup, sleeper: Callable[[], subprocess.Popen[bytes]]) -> None:
    group.create()
    below = type(group)(f"{group.path}/deeper")
    below.create()
    process = sleeper()
    below.add(process.pid)
    assert group.pids() == [process.pid]
    group.kill_all()
    assert process.wait(10) == -signal.SIGKILL
    group.remove()
    assert not below.exists()


def test_frozen_processes_are_killed_all_the_same(
    group: Cgroup, sleeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    group.create()
    process = sleeper()
    group.add(process.pid)
    assert not group.frozen()
    group.thaw()
    group.freeze()
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()
    group.freeze()
    group.kill_all()
    assert process.wait(10) == -signal.SIGKILL


def test_limits_are_kept_and_can_be_changed(group: Cgroup) -> None:
    group.create()
    if not has_controllers(group):
        pytest.skip("the controllers belong to the other version")
    group.apply({"pids": {"limit": 17}, "memory": {"limit": 64 << 20}})
    found = group.stats()
    assert (found["pids"]["limit"], found["memory"]["limit"]) == (17, 64 << 20)
    group.apply({"memory": {"limit": 128 << 20}})
    found = group.stats()
    assert (found["pids"]["limit"], found["memory"]["limit"]) == (17, 128 << 20)
    assert group.oom_kills() == 0


def test_stats_have_the_same_keys_in_every_version(
    group: Cgroup, sleeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    group.create()
    group.add(sleeper().pid)
    found = group.stats()
    assert {"cpu_usage_ns", "cpu_user_ns", "cpu_system_ns", "percpu_ns", "throttle"} <= found.keys()
    assert set(found["throttle"]) == {"periods", "throttled_periods", "throttled_time_ns"}
    assert {"usage", "max_usage", "limit", "failcnt", "stats"} <= found["memory"].keys()
    assert found["pids"]["current"] == int(has_controllers(group))
    assert {"io_service_bytes_recursive", "io_serviced_recursive"} <= found["blkio"].keys()

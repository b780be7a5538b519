"""In the virtual machine: the device filter of cgroup v2 as the kernel applies it."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.linux.cgroup import Cgroup, open_cgroup, version

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or version() != 2, reason="needs cgroup v2 alone, as root")
_NONE: dict[str, Any] = {"allow": False, "access": "rwm"}
_NULL: dict[str, Any] = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}
_ZERO: dict[str, Any] = {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}


@pytest.fixture
def group() -> Iterator[Cgroup]:
    cgroup = open_cgroup(f"/sampan-test-{uuid.uuid4().hex[:8]}")
    cgroup.create()
    yield cgroup
    cgroup.kill_all()
    cgroup.remove()


def may_open(group: Cgroup, path: str, flags: int) -> bool:
    child = os.fork()
    if child == 0:
        group.add(os.getpid())
        try:
            os.close(os.open(path, flags))
        except PermissionError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_rules(group: Cgroup) -> None:
    group.apply({"devices": [_NONE, _NULL, _ZERO]})
    assert may_open(group, "/dev/null", os.O_RDWR)
    assert may_open(group, "/dev/zero", os.O_RDONLY)
    assert not may_open(group, "/dev/zero", os.O_RDWR)
    assert not may_open(group, "/dev/full", os.O_RDONLY)


def test_an_update_takes_the_place_of_what_was(group: Cgroup) -> None:
    group.apply({"devices": [_NONE, _NULL]})
    assert not may_open(group, "/dev/zero", os.O_RDONLY)
    group.apply({"devices": [_NONE, _ZERO]})
    assert may_open(group, "/dev/zero", os.O_RDONLY)
    assert not may_open(group, "/dev/null", os.O_RDWR)


def test_a_limit_that_the_kernel_refuses_is_named(group: Cgroup) -> None:
    with pytest.raises(OSError, match=r"memory\.max: invalid argument"):
        group.apply({"unified": {"memory.max": "nonsense"}})


def test_frozen_is_thawed_before_it_is_killed(group: Cgroup) -> None:
    child = os.fork()
    if child == 0:
        group.add(os.getpid())
        signal.pause()
    while not group.pids():
        pass
    group.freeze()
    assert group.frozen()
    group.kill_all()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9


def test_own_directory_is_made_with_its_parents() -> None:
    parent = f"/sampan-test-{uuid.uuid4().hex[:8]}"
    cgroup = open_cgroup(f"{parent}/a/b")
    cgroup.create()
    try:
        cgroup.apply({"memory": {"limit": 1 << 24}})
        assert Path(f"/sys/fs/cgroup{parent}/a/b/memory.max").read_text() == f"{1 << 24}\n"
    finally:
        open_cgroup(parent).remove()
    assert not Path(f"/sys/fs/cgroup{parent}").exists()

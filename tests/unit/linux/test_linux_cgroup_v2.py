from __future__ import annotations

from pathlib import Path

import pytest

from sampan.linux.cgroup import v2_resources


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (0, 0), (1, 1)])
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert v2_resources.weight_of_shares(shares) == weight


@pytest.fixture
def group(tmp_path: Path) -> Path:
    for name in ("memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_resources_become_files(group: Path) -> None:
    v2_resources.apply(
        str(group),
        {
            "memory": {"limit": 100, "swap": 300, "reservation": 50},
            "cpu": {"quota": 50000, "shares": 1024, "cpus": "0-1"},
            "pids": {"limit": 0},
        },
    )
    found = {path.name: path.read_text() for path in group.iterdir()}
    assert found == {
        "memory.max": "100", "memory.swap.max": "200", "memory.low": "50", "cpu.max": "50000 100000",
        "cpu.weight": "39", "pids.max": "1", "cpuset.cpus": "0-1",
    }  # fmt: skip


def test_unified_takes_file_names_only(group: Path) -> None:
    with pytest.raises(OSError, match="file name"):
        v2_resources.apply(str(group), {"unified": {"../memory.max": "1"}})

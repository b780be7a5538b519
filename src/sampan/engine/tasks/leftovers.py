"""What a dead shim left: find how its container ended, kill what still runs, remove cgroup and directory. Blocking."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import Any, NamedTuple

from sampan.linux.cgroup import open_cgroup
from sampan.runtime.shim.files import process_start_ticks, remove_task_dir

_DEATH_TIMEOUT_S = 10.0
KILLED = 128 + signal.SIGKILL


class Found(NamedTuple):
    exit_code: int
    exited_at_ns: int
    oom_killed: bool


def read_task_file(task_dir: str) -> dict[str, Any] | None:
    return _read_json(f"{task_dir}/task.json")


def collect(task_dir: str) -> Found | None:
    """None if the container never ran. Without a recorded exit it counts as killed, as of now."""
    task = read_task_file(task_dir)
    if task is None:
        remove_task_dir(task_dir)
        return None
    pid, start_ticks = int(task["pid"]), int(task["pid_start"])
    if pid:
        _kill(pid, start_ticks)
    if task.get("cgroup_path"):
        _remove_cgroup(task["cgroup_path"])
    ended = _read_json(f"{task_dir}/exit.json") or _read_json(f"{task['state_dir']}/exit.json")
    remove_task_dir(task_dir)
    if not pid:
        return None
    if ended is None or int(ended["exited_at_ns"]) < int(task["started_at_ns"]):
        return Found(KILLED, time.time_ns(), False)
    return Found(int(ended["exit_code"]), int(ended["exited_at_ns"]), bool(ended["oom_killed"]))


def _read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as source:
            content = json.load(source)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _kill(pid: int, start_ticks: int) -> None:
    """Kill the init of a container that lost its shim, and wait for it; another process with its pid is left alone."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if process_start_ticks(pid) != start_ticks:
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], _DEATH_TIMEOUT_S)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def _remove_cgroup(path: str) -> None:
    cgroup = open_cgroup(path)
    try:
        if cgroup.pids():
            cgroup.thaw()
            cgroup.kill_all()
        cgroup.remove()
    except OSError:
        pass  # what a dying process still holds, the next start of sampand collects

"""The small files of a task, and how they are written. Used by the shim and by a sampand that finds it dead."""

from __future__ import annotations

import os


def process_start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc(5), field 22): tells it from a later one with its pid."""
    try:
        stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(stat, 4096).rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0
    finally:
        os.close(stat)


def remove_task_dir(path: str) -> None:
    for name in ("shim.sock", "launch.json", "seccomp.bpf", "exit.json", "exit.json.tmp", "task.json.tmp", "task.json"):
        try:
            os.unlink(f"{path}/{name}")
        except OSError:
            pass  # not there; what must not be left fails the rmdir below
    try:
        os.rmdir(path)
    except OSError:
        pass  # the next start of sampand collects it


def write_file(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def replace_file(path: str, data: bytes) -> None:
    """Readers see the old content or the new one, never a part."""
    write_file(f"{path}.tmp", data)
    os.rename(f"{path}.tmp", path)


def fsync_file(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(fd)
        os.close(fd)
    except OSError:
        pass  # the name is safe already; a disk that cannot sync has told the kernel's log

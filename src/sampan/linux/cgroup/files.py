"""Reading and writing the small text files of cgroupfs, and walking and removing a group's directories."""

from __future__ import annotations

import errno
import os
import signal
import time


def write(path: str, value: str | int) -> None:
    """One write(2) of `value`; an error names the file and the value, in runc's words."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise OSError(error.errno, f'failed to write "{value}": write {path}: {reason}') from None
    finally:
        os.close(descriptor)


def read(path: str, default: str = "") -> str:
    """The file's text without its final newline, or `default` when there is no such file (or it cannot be read)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return default
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
        return b"".join(chunks).decode().rstrip("\n")
    except OSError:
        return default
    finally:
        os.close(descriptor)


def read_int(path: str, default: int = 0) -> int:
    """The number in the file; "max" gives 2**63 - 1 as cgroup v1 would show it (rounded down to a page)."""
    text = read(path)
    if text == "max":
        return 0x7FFFFFFFFFFFF000
    try:
        return int(text)
    except ValueError:
        return default


def read_table(path: str) -> dict[str, int]:
    """A flat keyed file: one `key number` per line."""
    table = {}
    for line in read(path).splitlines():
        key, _, value = line.partition(" ")
        if value.strip().lstrip("-").isdigit():
            table[key] = int(value)
    return table


def pids_below(directory: str) -> list[int]:
    """Every process in `directory` and its sub-groups; empty when it does not exist."""
    pids: list[int] = []
    for current, _, _ in os.walk(directory):
        pids += [int(line) for line in read(f"{current}/cgroup.procs").split()]
    return pids


def remove_tree(directory: str, *, timeout_s: float = 2.0) -> None:
    """Remove the group and its sub-groups. A group whose last process is just exiting is retried for `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.0005
    while True:
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
        for name in _subgroups(directory):
            remove_tree(f"{directory}/{name}", timeout_s=max(0.0, deadline - time.monotonic()))
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def _subgroups(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def kill_each(directory: str, *, attempts: int = 20) -> None:
    """SIGKILL to every process below, again until none appears: for kernels without `cgroup.kill`."""
    for _ in range(attempts):
        pids = pids_below(directory)
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.002)

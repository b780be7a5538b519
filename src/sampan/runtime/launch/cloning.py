"""Which namespaces a container's first process gets new and which it joins, and the clone itself."""

from __future__ import annotations

import os
from typing import Any

from sampan.linux.namespaces import CLONE_NEWPID, CLONE_NEWUSER, FLAGS, setns
from sampan.linux.syscalls import Cloned, clone3
from sampan.runtime.launch import launch_error
from sampan.runtime.launch.launch_error import LaunchError


def plan(config: dict[str, Any], netns_fd: int | None) -> tuple[int, list[tuple[int, int]]]:
    """(flags of the namespaces to create, [(flag, descriptor)] of those to join). The user namespace is not among them:
    see `remap`."""
    create = 0
    join: list[tuple[int, int]] = []
    for entry in config.get("linux", {}).get("namespaces") or []:
        flag = FLAGS.get(entry["type"])
        if flag is None:
            raise LaunchError(f"unknown namespace type {entry['type']!r}")
        if flag == CLONE_NEWUSER or (entry["type"] == "network" and netns_fd is not None):
            continue
        if entry.get("path"):
            try:
                join.append((flag, os.open(entry["path"], os.O_RDONLY | os.O_CLOEXEC)))
            except OSError as error:
                raise LaunchError(f"cannot open namespace {launch_error.describe(error)}") from None
        else:
            create |= flag
    if netns_fd is not None:
        join.append((FLAGS["network"], netns_fd))
    return create, join


def clone(flags: int, cgroup_fd: int | None, pid_namespace: int | None) -> Cloned:
    """clone3 into new namespaces, and into an existing pid namespace if one is given."""
    if pid_namespace is None:
        return clone3(flags, cgroup_fd=cgroup_fd)
    # setns(2) on a pid namespace is for children only; ours is put back at once.
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(pid_namespace, CLONE_NEWPID)
        try:
            cloned = clone3(flags & ~CLONE_NEWPID, cgroup_fd=cgroup_fd)
        except OSError:
            setns(own, CLONE_NEWPID)
            raise
        if cloned.pid:
            setns(own, CLONE_NEWPID)
        return cloned
    finally:
        os.close(own)

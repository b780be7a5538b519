"""Runs one operation confined to a container's root: cp, export, stat and COPY never resolve a path from the host.

The worker is forked from the zygote, enters the root (of a running process: its mount namespace; of a stopped container:
a private mount namespace in which the overlay and the volumes are mounted and pivoted into), forgets `sys.path`, and only
then looks at the first path of the request. All code was imported before. What it mounts dies with it.

It dies when its caller goes away: SIGIO on the closed channel, which by default ends the process.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from typing import Any

from sampan import errors
from sampan.linux import mount
from sampan.linux.namespaces import CLONE_NEWNS, CLONE_NEWUSER, same_namespace, setns, unshare
from sampan.linux.syscalls import AT_FDCWD, open_in_root
from sampan.runtime import namespace_worker, protocol
from sampan.runtime.launch.mounts import mount_rootfs
from sampan.runtime.rootfs_ops import OPERATIONS

_O_ASYNC = 0o20000


def run(message: protocol.Message) -> None:
    """Body of the worker process: answers on the first descriptor and returns."""
    body = message.body
    control = socket.socket(fileno=message.fds.pop(0))
    _die_with_caller(control, True)
    try:
        if body["op"] == "namespaces":
            answer = {"result": namespace_worker.make(body["arguments"], message.fds)}
        else:
            answer = {"result": _operate(body, message.fds)}
    except Exception as error:
        answer = {"error": protocol.error_body(error)}
    _die_with_caller(control, False)
    protocol.close_all(message.fds)
    try:
        protocol.send(control, {"seq": body["seq"], **answer})
    except BrokenPipeError:
        pass  # who asked has left meanwhile: a client that ended its `cp`


def _operate(body: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    operation = OPERATIONS.get(body["operation"])
    if operation is None:
        raise errors.Internal(f"unknown operation in a container's root: {body['operation']}")
    enter(body["target"], body["scratch"])
    _forbid_devices()
    sys.path.clear()
    return operation(body["arguments"], fds) or {}


def _die_with_caller(control: socket.socket, wanted: bool) -> None:
    fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(control, fcntl.F_GETFL)
    fcntl.fcntl(control, fcntl.F_SETFL, flags | _O_ASYNC if wanted else flags & ~_O_ASYNC)


def enter(target: dict[str, Any], scratch: str) -> None:
    """Make the container's root this process's root. `scratch` is an empty directory of the host to mount over.

    Raises:
        Conflict: the process has ended.
        OSError: a mount failed.
    """
    if target["kind"] == "process":
        _enter_process(int(target["pid"]))
        return
    unshare(CLONE_NEWNS)
    mount.set_propagation("/", mount.MS_REC | mount.MS_PRIVATE)
    mount_rootfs(target, scratch)
    root = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for one in target.get("mounts") or []:
        _mount_into(root, one)
    mount.pivot_into(root)
    os.close(root)


def _enter_process(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
        flags = CLONE_NEWNS if same_namespace(pid, "user") else CLONE_NEWNS | CLONE_NEWUSER
        setns(pidfd, flags)
    except (ProcessLookupError, FileNotFoundError) as error:
        raise errors.Conflict("the container has stopped meanwhile") from error
    if flags & CLONE_NEWUSER:
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    os.close(pidfd)
    os.chdir("/")


def _forbid_devices() -> None:
    """No device of the root can be opened from here on, whatever file is swapped for one meanwhile: the worker is not
    under the rules for devices that hold for the container. Of a running one's mounts it gets copies to mark."""
    unshare(CLONE_NEWNS)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Private first: what the container mounts later must not come in without the mark.
        mount.mount_setattr(root, propagation=mount.MS_PRIVATE, recursive=True)
        mount.mount_setattr(root, set_flags=mount.MOUNT_ATTR_NODEV, recursive=True)
    finally:
        os.close(root)


def _mount_into(root: int, one: dict[str, Any]) -> None:
    """Bind one OCI mount below `root`, resolved there; a missing target is made, as at a start."""
    options = one.get("options") or []
    tree = mount.open_tree(AT_FDCWD, one["source"], clone=True, recursive="bind" not in options)
    try:
        if "ro" in options:
            mount.mount_setattr(tree, set_flags=mount.MOUNT_ATTR_RDONLY, recursive=True)
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        place = _open_target(root, one["destination"], is_directory)
        try:
            mount.move_mount(tree, place)
        finally:
            os.close(place)
    finally:
        os.close(tree)


def _open_target(root: int, path: str, is_directory: bool) -> int:
    try:
        return open_in_root(root, path, os.O_PATH)
    except FileNotFoundError:
        pass
    parts = [part for part in path.split("/") if part]
    walked = ""
    for index, part in enumerate(parts):
        parent = open_in_root(root, walked or "/", os.O_PATH | os.O_DIRECTORY)
        walked += f"/{part}"
        try:
            if index + 1 < len(parts) or is_directory:
                os.mkdir(part, 0o755, dir_fd=parent)
            else:
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent))
        except FileExistsError:
            pass
        finally:
            os.close(parent)
    return open_in_root(root, path, os.O_PATH)

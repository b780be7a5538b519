"""Files into a container's root from a tar."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from sampan.errors import InvalidArgument, NotFound
from sampan.linux.syscalls import open_in_root
from sampan.runtime.rootfs_ops.paths import link_target, open_root
from sampan.tar.extract import extract_tree


def archive_put(arguments: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """Unpack the tar that `fds[0]` gives (plain) below the directory `path`, links followed inside the root.

    Arguments: `path`, `no_overwrite_dir_non_dir`, `copy_uid_gid` with `user` (everything gets that user's ids),
    `readonly_root`, `readonly_mounts` and `writable_mounts` (paths of mounts).

    Raises:
        NotFound: no such path.
        InvalidArgument: `extraction point is not a directory`, read-only, or a bad archive.
    """
    root = open_root()
    try:
        path = arguments["path"]
        resolved = link_target(root, path)
        try:
            os.close(open_in_root(root, resolved, os.O_PATH | os.O_DIRECTORY))
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise NotFound(f"lstat {path}: no such file or directory") from None
            raise InvalidArgument("extraction point is not a directory") from None
        _check_writable(resolved, arguments)
        chown = _ids(root, arguments.get("user") or "") if arguments.get("copy_uid_gid") else None
        with open(os.dup(fds[0]), "rb", buffering=0) as stream:
            extract_tree(
                stream,
                root,
                prefix=os.fsencode(resolved.strip("/")),
                no_overwrite_dir_nondir=bool(arguments.get("no_overwrite_dir_non_dir")),
                chown=chown,
            )
    finally:
        os.close(root)
    return {}


def _check_writable(path: str, arguments: dict[str, Any]) -> None:
    """The innermost mount that holds `path` decides."""
    innermost, writable = "", not arguments.get("readonly_root")
    for mounts, may_write in (
        (arguments.get("readonly_mounts") or (), False),
        (arguments.get("writable_mounts") or (), True),
    ):
        for mount in mounts:
            inside = path == mount or path.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) > len(innermost):
                innermost, writable = mount, may_write
    if not writable:
        raise InvalidArgument(
            "mounted volume is marked read-only" if innermost else "container rootfs is marked read-only"
        )


def _ids(root: int, user: str) -> tuple[int, int]:
    """The ids of `user[:group]` by the container's own files; numbers need no file."""
    name, _, group = user.partition(":")
    uid, gid = 0, 0
    found = _entry(root, "/etc/passwd", name) if name else None
    if found is not None:
        uid, gid = int(found[2]), int(found[3])
    elif name.isdigit():
        uid = int(name)
    elif name:
        raise InvalidArgument(f"unable to find user {name}: no matching entries in passwd file")
    if group:
        found = _entry(root, "/etc/group", group)
        if found is not None:
            gid = int(found[2])
        elif group.isdigit():
            gid = int(group)
        else:
            raise InvalidArgument(f"unable to find group {group}: no matching entries in group file")
    return uid, gid


def _entry(root: int, path: str, wanted: str) -> list[str] | None:
    """The line of a passwd or group file whose name, or else number, is `wanted`."""
    try:
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.split(":") for line in file.read(1 << 20).splitlines()]
    lines = [parts for parts in lines if len(parts) >= 4 and parts[2].isdigit()]
    by_name = next((parts for parts in lines if parts[0] == wanted), None)
    return by_name or next((parts for parts in lines if parts[2] == wanted), None)

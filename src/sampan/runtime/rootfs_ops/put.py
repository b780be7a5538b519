"""Files into a container's root from a tar."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from sampan.errors import InvalidArgument, NotFound
from sampan.linux.syscalls import open_in_root
from sampan.runtime.launch import user
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
        chown = _owner(arguments.get("user") or "") if arguments.get("copy_uid_gid") else None
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


def _owner(name: str) -> tuple[int, int]:
    """The ids of `user[:group]`, as a process of the container would have them."""
    identity = user.resolve(name)
    return identity.uid, identity.gid

"""Files out of a container's root as a tar."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from sampan.errors import NotFound
from sampan.runtime.rootfs_ops.paths import locate, open_directory, open_root
from sampan.tar.extract import extract_tree
from sampan.tar.writer import pack_tree


class _FdWriter:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes | bytearray | memoryview) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        return len(data)


def archive_get(arguments: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """Write what `path` is, with all below it, as a tar to `fds[0]`; its entries start with the path's last component.

    A link in the last component is archived as a link. A client that stops reading ends this quietly.

    Raises:
        NotFound, InvalidArgument.
    """
    root = open_root()
    place = locate(root, arguments["path"])
    try:
        try:
            os.lstat(place.name, dir_fd=place.parent_fd)
        except FileNotFoundError:
            raise NotFound(f"lstat {arguments['path']}: no such file or directory") from None
        pack_tree(place.parent_fd, place.name, _FdWriter(fds[0]), rename=os.fsencode(place.shown))
    except BrokenPipeError:
        pass
    finally:
        os.close(place.parent_fd)
        os.close(root)
    return {}


def export(arguments: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """Write the whole root as a tar to `fds[0]`, staying on its own file system: mounts appear as empty directories."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pack_tree(root, b".", _FdWriter(fds[0]), rename=b"", one_file_system=True)
    except BrokenPipeError:
        pass
    finally:
        os.close(root)
    return {}


def copy_up(arguments: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """Copy the content of the directory `path`, and its owner and mode, into the directory `fds[0]`; none, none copied."""
    root = open_root()
    try:
        source = open_directory(root, arguments["path"])
    except NotFound:
        return {}
    finally:
        os.close(root)
    try:
        _copy(source, fds[0])
    finally:
        os.close(source)
    return {}


def _copy(source: int, target: int) -> None:
    """Through a pipe between two processes' worth of code: the packer here, the extractor in a child."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read_end)
            pack_tree(source, b".", _FdWriter(write_end), rename=b"")
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    try:
        with open(read_end, "rb", buffering=0) as stream:
            extract_tree(stream, target)
    finally:
        _, status = os.waitpid(child, 0)
    if status:
        raise OSError(f"copying a volume's first content failed with status {status}")
    found = os.fstat(source)
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))

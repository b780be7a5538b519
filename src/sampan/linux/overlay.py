"""overlayfs mounts (Documentation/filesystems/overlayfs.rst)."""

from __future__ import annotations

import ctypes
import errno
import os

from sampan.linux import mount as _mount
from sampan.linux.syscalls import AT_FDCWD, SYS_MOUNT, syscall

MAXIMUM_LAYERS = 125
"""Docker's own limit; the kernel's is 500, and the options must fit one page."""


def mount_overlay(
    target: str,
    lower: list[str],
    *,
    upper: str | None = None,
    work: str | None = None,
    readonly: bool = False,
    volatile: bool = False,
) -> None:
    """Mount an overlay of `lower` (topmost first) on `target`; writable when `upper` and `work` are given.

    Directories are passed as descriptors, so their names may be of any length and contain colons and commas. With
    `volatile` the kernel never syncs the upper directory: right for content that is thrown away after a crash.
    A single lower layer without upper is mounted as a read-only bind, which overlayfs cannot do.
    """
    if not lower:
        raise OSError(errno.EINVAL, "an overlay needs at least one lower directory", target)
    if len(lower) == 1 and upper is None:
        _bind_readonly(lower[0], target)
        return
    descriptors = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in lower]
    try:
        options = "lowerdir=" + ":".join(f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
        if upper is not None and work is not None:
            for name, path in (("upperdir", upper), ("workdir", work)):
                descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                descriptors.append(descriptor)
                options += f",{name}=/proc/self/fd/{descriptor}"
            _forget_volatile_mark(work)
            if volatile:
                options += ",volatile"
        _mount_tolerant(target, options, _mount.MS_RDONLY if readonly else 0)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _forget_volatile_mark(work: str) -> None:
    """A volatile mount leaves a mark that forbids every later one, also of another kind (a copy out of a stopped
    container). The mark warns of a crash in between; whoever asked for volatile has accepted what that means."""
    mark = f"{work}/work/incompat/volatile"
    try:
        os.unlink(f"{mark}/dirty")
    except OSError:
        pass  # no mark
    try:
        os.rmdir(mark)
    except OSError:
        pass  # no mark, or one that the mount itself will complain of


def _mount_tolerant(target: str, options: str, flags: int) -> None:
    raw = ctypes.create_string_buffer(options.encode())
    try:
        syscall("mount overlay", SYS_MOUNT, b"overlay", os.fsencode(target), b"overlay", flags, raw)
    except OSError as error:
        if error.errno != errno.EINVAL or not options.endswith(",volatile"):
            raise
        # Linux before 5.10 does not know the option; it only makes things faster.
        _mount_tolerant(target, options.removesuffix(",volatile"), flags)


def _bind_readonly(source: str, target: str) -> None:
    descriptor = _mount.open_tree(AT_FDCWD, source, clone=True)
    try:
        _mount.mount_setattr(descriptor, set_flags=_mount.MOUNT_ATTR_RDONLY)
        target_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _mount.move_mount(descriptor, target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(descriptor)

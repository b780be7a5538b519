"""Set an entry's owner, mode, xattrs and times on what was made for it; shared by every extractor."""

from __future__ import annotations

import errno
import os

from sampan.tar.entry import SYMLINK, Entry

# what ext4 with 256-byte inodes stores: 1901 to 2446
_MIN_TIME_NS = -(1 << 31) * 1_000_000_000
_MAX_TIME_NS = ((1 << 34) - (1 << 31)) * 1_000_000_000 - 1
# overlayfs keeps its structure in these: an image that sets them could redirect directories of other layers
# (trusted.overlay.redirect, .metacopy); SELinux labels belong to the machine that they were made on
_REFUSED = (b"trusted.overlay.", b"user.overlay.", b"security.selinux")
_UNSUPPORTED = frozenset((errno.ENOTSUP, errno.EPERM, errno.EINVAL))


def bounded_time(time_ns: int) -> int:
    """`time_ns` if a file system can store it, else the epoch (as Docker)."""
    return time_ns if _MIN_TIME_NS <= time_ns <= _MAX_TIME_NS else 0


def set_xattrs(target: int | str, entry: Entry, *, follow_symlinks: bool = True) -> None:
    """Set those xattrs that a layer may set; those that the file system cannot store are left out, as by Docker."""
    for key, value in (entry.xattrs or {}).items():
        if key.startswith(_REFUSED):
            continue
        try:
            if follow_symlinks:
                os.setxattr(target, key, value)
            else:
                os.setxattr(target, key, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise


def apply_to_node(parent_fd: int, name: bytes, entry: Entry, *, always_chown: bool = False) -> None:
    """A link, device or fifo just made as `name`: owner, mode (links have none), xattrs, times."""
    if entry.uid or entry.gid or always_chown:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
    if entry.kind != SYMLINK:
        # no path below us can be a link here: we made `name` ourselves a moment ago
        os.chmod(name, entry.mode, dir_fd=parent_fd)
    if entry.xattrs:
        set_xattrs(f"/proc/self/fd/{parent_fd}/{os.fsdecode(name)}", entry, follow_symlinks=False)
    mtime_ns = bounded_time(entry.mtime_ns)
    os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent_fd, follow_symlinks=False)


def apply_to_directory(parent_fd: int, name: bytes, entry: Entry) -> None:
    """The same for a directory that may since have been replaced: raises NotADirectoryError then."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            set_xattrs(fd, entry)
        mtime_ns = bounded_time(entry.mtime_ns)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)

"""Make files, links, directories and devices out of a tar's entries, below one directory and nowhere else.

Every path is walked by descriptors (see `directories`). The only symbolic links that can mislead are followed as the kernel
would follow them with the root directory as `/`, so they never lead out.
"""

from __future__ import annotations

import errno
import os
import stat

from sampan.errors import Internal, SampanError
from sampan.tar.directories import Directories
from sampan.tar.entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    TarError,
    clean_name,
    printable,
)
from sampan.tar.metadata import apply_to_directory, apply_to_node, bounded_time, set_xattrs
from sampan.tar.reader import TarReader
from sampan.tar.remove import remove_tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# faults of the machine; every other errno while unpacking is the archive's own doing
_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS)
)


def as_sampan_error(error: OSError, name: bytes) -> SampanError:
    """`error` while unpacking `name`: the machine's fault is `Internal`, the archive's is `TarError`."""
    text = f"failed to extract {printable(name)}: {(error.strerror or str(error)).lower()}"
    return Internal(text) if error.errno in _MACHINE else TarError(text)


class Extractor:
    """Unpacks entries one by one; `finish` sets the directories' metadata and `close` frees the descriptors."""

    def __init__(self, root_fd: int) -> None:
        self.directories = Directories(root_fd)
        self._pending: dict[
            bytes, Entry
        ] = {}  # directories whose metadata is set at the end, when nothing touches them
        root = os.fstat(root_fd)
        self._plain_owner = root.st_gid == 0 and not root.st_mode & stat.S_ISGID and os.geteuid() == 0
        self._makers = {
            REGULAR: self._file,
            HARDLINK: self._hardlink,
            SYMLINK: self._symlink,
            DIRECTORY: self._directory,
            CHARACTER: self._node,
            BLOCK: self._node,
            FIFO: self._node,
        }

    def add(self, entry: Entry, reader: TarReader) -> None:
        """Make one entry. Raises TarError, OSError."""
        path = clean_name(entry.name)
        if path:
            parent, _, name = path.rpartition(b"/")
            self.make(entry, path, self.directories.get(parent, create=True), name, reader)
        elif entry.kind == DIRECTORY:
            self._pending[b""] = entry

    def make(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        """Make `entry` as `name` in `parent_fd`, in place of what is there; directories merge."""
        maker = self._makers[entry.kind]
        try:
            maker(entry, path, parent_fd, name, reader)
        except FileExistsError:
            room = self._make_room(entry, path, path.rpartition(b"/")[0], name)
            if room is not None:
                maker(entry, path, room, name, reader)
                self.replaced(entry, path)

    def replaced(self, entry: Entry, path: bytes) -> None:
        """Called after `entry` took the place of something that was no directory, or of a whole directory."""

    # -- makers: each raises FileExistsError before it has changed anything ---------------------------------------------

    def _file(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent_fd)
        try:
            if entry.size:
                reader.copy_to(fd)
            if entry.uid or entry.gid or not self._plain_owner:
                os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                set_xattrs(fd, entry)
            mtime_ns = bounded_time(entry.mtime_ns)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _directory(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        os.mkdir(name, 0o700, dir_fd=parent_fd)
        self._pending[path] = entry

    def link_path(self, entry: Entry) -> bytes:
        """Where a hard link points to, from the root."""
        return clean_name(entry.linkname)

    def check_replace(self, entry: Entry, found: os.stat_result) -> None:
        """Raise to keep `entry` from taking the place of what is there."""

    def _symlink(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        if not entry.linkname:
            raise TarError(f"invalid tar header: symbolic link {printable(entry.name)} without a target")
        os.symlink(entry.linkname, name, dir_fd=parent_fd)
        apply_to_node(parent_fd, name, entry, always_chown=not self._plain_owner)

    def _hardlink(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        target = self.link_path(entry)
        if target == path:
            return
        target_parent, _, target_name = target.rpartition(b"/")
        # a second look-up may evict the first descriptor from the cache
        held = os.dup(parent_fd)
        try:
            source_fd = self.directories.get(target_parent)
            os.link(target_name or b".", name, src_dir_fd=source_fd, dst_dir_fd=held, follow_symlinks=False)
        finally:
            os.close(held)

    def _node(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        kind = {CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}[entry.kind]
        try:
            device = 0 if entry.kind == FIFO else os.makedev(entry.device_major, entry.device_minor)
        except OverflowError:
            raise TarError(f"invalid tar header: bad device number of {printable(entry.name)}") from None
        os.mknod(name, kind | 0o600, device, dir_fd=parent_fd)
        apply_to_node(parent_fd, name, entry, always_chown=not self._plain_owner)

    def _make_room(self, entry: Entry, path: bytes, parent: bytes, name: bytes) -> int | None:
        """A later entry of a name replaces the earlier; directories merge (None: nothing left to make)."""
        parent_fd = self.directories.get(parent)
        found = os.lstat(name, dir_fd=parent_fd)
        self.check_replace(entry, found)
        if stat.S_ISDIR(found.st_mode):
            if entry.kind == DIRECTORY:
                self._pending[path] = entry
                return None
            self._forget_below(path)
            remove_tree(parent_fd, name)
            parent_fd = self.directories.get(parent)
        else:
            self.directories.forget()
            parent_fd = self.directories.get(parent)
            os.unlink(name, dir_fd=parent_fd)
        return parent_fd

    def _forget_below(self, path: bytes) -> None:
        self.directories.forget()
        below = path + b"/"
        for gone in [known for known in self._pending if known == path or known.startswith(below)]:
            del self._pending[gone]

    def close(self) -> None:
        self.directories.close()

    def finish(self) -> None:
        """Set the directories' metadata."""
        directories = self.directories
        for path, entry in self._pending.items():
            try:
                if path:
                    parent, _, name = path.rpartition(b"/")
                    apply_to_directory(directories.get(parent), name, entry)
                else:
                    apply_to_directory(directories.root_fd, b".", entry)
            except (NotADirectoryError, FileNotFoundError):
                continue  # a later entry put something else in its place, through another name of the same directory

"""Unpack a layer of an image into an empty directory, as overlayfs wants to find it.

The tree is ours alone while this runs, so the only links that can mislead us are those that the archive itself made; see
`directories` for how those are kept inside. Deletions become overlayfs' own marks: `.wh.name` a character device 0:0,
`.wh..wh..opq` the xattr `trusted.overlay.opaque` (image-spec, layer.md; kernel, overlayfs.rst).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

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
    Limits,
    TarError,
    clean_name,
    printable,
)
from sampan.tar.metadata import apply_to_directory, apply_to_node, bounded_time, set_xattrs
from sampan.tar.reader import Readable, TarReader
from sampan.tar.remove import remove_tree

WHITEOUT_PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
OPAQUE_XATTR = b"trusted.overlay.opaque"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# faults of the machine; every other errno while unpacking is the archive's own doing
_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS)
)


class ExtractStats(NamedTuple):
    size_bytes: int  # sum of the files' sizes
    entries: int


def extract_layer(stream: Readable, dest_dirfd: int, *, limits: Limits | None = None) -> ExtractStats:
    """Unpack the plain tar `stream` into the empty directory `dest_dirfd`; reads the stream to its end.

    Keeps owners, modes (setuid too), nanosecond times, xattrs (but overlayfs' own), devices, holes and hard links.

    Raises:
        TarError: malformed or hostile; what was unpacked so far is left for the caller to remove.
        Internal: disk full, I/O error.
    """
    layer = _Layer(dest_dirfd)
    reader = TarReader(stream, limits)
    name = b""
    try:
        for entry in reader:
            name = entry.name
            layer.add(entry, reader)
        layer.finish()
    except OSError as error:
        raise as_sampan_error(error, name) from error
    finally:
        layer.directories.close()
    return ExtractStats(reader.size_bytes, reader.entries)


def as_sampan_error(error: OSError, name: bytes) -> SampanError:
    """`error` while unpacking `name`: the machine's fault is `Internal`, the archive's is `TarError`."""
    text = f"failed to extract {printable(name)}: {(error.strerror or str(error)).lower()}"
    return Internal(text) if error.errno in _MACHINE else TarError(text)


class _Layer:
    def __init__(self, root_fd: int) -> None:
        self.directories = Directories(root_fd)
        self._pending: dict[
            bytes, Entry
        ] = {}  # directories whose metadata is set at the end, when nothing touches them
        root = os.fstat(root_fd)
        self._plain_owner = root.st_gid == 0 and not root.st_mode & stat.S_ISGID and os.geteuid() == 0
        self._whiteouts: set[bytes] = set()
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
        path = clean_name(entry.name)
        if not path:
            if entry.kind == DIRECTORY:
                self._pending[b""] = entry
            return
        parent, _, name = path.rpartition(b"/")
        parent_fd = self.directories.get(parent, create=True)
        if name.startswith(WHITEOUT_PREFIX):
            self._whiteout(parent, parent_fd, name)
            return
        maker = self._makers[entry.kind]
        try:
            maker(entry, path, parent_fd, name, reader)
        except FileExistsError:
            room = self._make_room(entry, path, parent, name)
            if room is not None:
                maker(entry, path, room, name, reader)
                if entry.kind == DIRECTORY and path in self._whiteouts:
                    self._whiteouts.discard(path)  # deleted and made anew: nothing of the lower one shows through
                    self._set_opaque(path)

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

    def _symlink(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        if not entry.linkname:
            raise TarError(f"invalid tar header: symbolic link {printable(entry.name)} without a target")
        os.symlink(entry.linkname, name, dir_fd=parent_fd)
        apply_to_node(parent_fd, name, entry)

    def _hardlink(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        target = clean_name(entry.linkname)
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
        apply_to_node(parent_fd, name, entry)

    # -- deletions and duplicates ---------------------------------------------------------------------------------------

    def _whiteout(self, parent: bytes, parent_fd: int, name: bytes) -> None:
        if name == OPAQUE_MARK:
            self._set_opaque(parent)
            return
        if name.startswith(b".wh..wh."):
            return  # AUFS' private files (.wh..wh.plnk, .wh..wh.aufs), which mean nothing here
        hidden = name[len(WHITEOUT_PREFIX) :]
        if hidden in (b"", b".", b".."):
            raise TarError(f"invalid whiteout {printable(name)}")
        path = parent + b"/" + hidden if parent else hidden
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent_fd)
            self._whiteouts.add(path)
        except FileExistsError:  # it hides what is below this layer; what this layer brings stays
            if stat.S_ISDIR(os.lstat(hidden, dir_fd=parent_fd).st_mode):
                self._set_opaque(path)

    def _set_opaque(self, path: bytes) -> None:
        # setxattr refuses O_PATH descriptors; the link in /proc is ours and leads to exactly this directory
        os.setxattr(f"/proc/self/fd/{self.directories.get(path)}", OPAQUE_XATTR, b"y")

    def _make_room(self, entry: Entry, path: bytes, parent: bytes, name: bytes) -> int | None:
        """A later entry of a name replaces the earlier; directories merge (None: nothing left to make)."""
        parent_fd = self.directories.get(parent)
        found = os.lstat(name, dir_fd=parent_fd)
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

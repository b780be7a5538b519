"""Unpack archives: a layer into an overlayfs lower directory, or any tree into a directory.

In a layer, deletions become overlayfs' own marks: `.wh.name` a character device 0:0, `.wh..wh..opq` the xattr
`trusted.overlay.opaque` (image-spec, layer.md; kernel, overlayfs.rst).
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from sampan.tar.entry import DIRECTORY, Entry, Limits, TarError, clean_name, printable
from sampan.tar.extractor import Extractor, as_sampan_error
from sampan.tar.reader import Readable, TarReader

WHITEOUT_PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
OPAQUE_XATTR = b"trusted.overlay.opaque"


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
    return _run(_Layer(dest_dirfd), stream, limits)


def extract_tree(
    stream: Readable,
    dirfd: int,
    *,
    prefix: bytes = b"",
    no_overwrite_dir_nondir: bool = False,
    chown: tuple[int, int] | None = None,
    limits: Limits | None = None,
) -> ExtractStats:
    """Unpack the plain tar `stream` below `dirfd`/`prefix`, over what is there; `.wh.` names mean nothing here.

    Symbolic links on the way are followed with `dirfd` as root. A file in the way of a file is replaced, a directory in the
    way of a file removed with all below it, unless `no_overwrite_dir_nondir` forbids a directory and anything else to take
    each other's place. `chown` (uid, gid) overrules the archive's owners.

    Raises:
        TarError: malformed, hostile, or forbidden to overwrite. Internal: disk full, I/O error.
    """
    return _run(_Tree(dirfd, prefix, no_overwrite_dir_nondir, chown), stream, limits)


def _run(extractor: Extractor, stream: Readable, limits: Limits | None) -> ExtractStats:
    reader = TarReader(stream, limits)
    name = b""
    try:
        for entry in reader:
            name = entry.name
            extractor.add(entry, reader)
        extractor.finish()
    except OSError as error:
        raise as_sampan_error(error, name) from error
    finally:
        extractor.close()
    return ExtractStats(reader.size_bytes, reader.entries)


class _Layer(Extractor):
    def __init__(self, root_fd: int) -> None:
        super().__init__(root_fd)
        self._whiteouts: set[bytes] = set()

    def make(self, entry: Entry, path: bytes, parent_fd: int, name: bytes, reader: TarReader) -> None:
        if name.startswith(WHITEOUT_PREFIX):
            self._whiteout(path.rpartition(b"/")[0], parent_fd, name)
        else:
            super().make(entry, path, parent_fd, name, reader)

    def replaced(self, entry: Entry, path: bytes) -> None:
        if path in self._whiteouts:
            self._whiteouts.discard(path)
            if entry.kind == DIRECTORY:  # deleted and made anew: nothing of the lower one shows through
                self._set_opaque(path)

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


class _Tree(Extractor):
    def __init__(self, root_fd: int, prefix: bytes, no_overwrite: bool, chown: tuple[int, int] | None) -> None:
        super().__init__(root_fd)
        self._prefix = prefix
        self._no_overwrite = no_overwrite
        self._chown = chown
        self._plain_owner = False  # directories that are there may have the setgid bit

    def add(self, entry: Entry, reader: TarReader) -> None:
        path = clean_name(entry.name)
        if not path:
            return  # the directory itself stays as it is
        if self._prefix:
            path = self._prefix + b"/" + path
        if self._chown is not None:
            entry.uid, entry.gid = self._chown
        parent, _, name = path.rpartition(b"/")
        self.make(entry, path, self.directories.get(parent, create=True), name, reader)

    def link_path(self, entry: Entry) -> bytes:
        target = super().link_path(entry)
        return self._prefix + b"/" + target if self._prefix else target

    def check_replace(self, entry: Entry, found: os.stat_result) -> None:
        was_directory, is_directory = stat.S_ISDIR(found.st_mode), entry.kind == DIRECTORY
        if not self._no_overwrite or was_directory == is_directory:
            return
        what = ("directory", "non-directory") if was_directory else ("non-directory", "directory")
        name = printable(entry.name)
        raise TarError(f"cannot overwrite {what[0]} {name} with {what[1]} {name}")

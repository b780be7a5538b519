"""Carries out one COPY or ADD into the upper directory of its layer. Blocking; runs in a worker thread."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tempfile
from typing import NamedTuple

from sampan.build.layer_writer import ROOT, LayerWriter, Metadata, Owner, changed_mode, join
from sampan.build.nodes import Copy
from sampan.build.sources import Selection, Source
from sampan.build.tree import Found, LayeredTree
from sampan.build.unpack import explicit_directories, is_archive, unpack
from sampan.errors import InvalidArgument, SampanError

_NAMES_BYTES = 1 << 20


class Download(NamedTuple):
    """A fetched URL: the file's name at the destination, where its bytes are, and the server's Last-Modified."""

    name: str
    path: str
    sha256: str
    mtime_ns: int | None


def perform(copy: Copy, selection: Selection | None, downloads: list[Download], upper: str, below: LayeredTree) -> None:
    """Write what `copy` says into the empty directory `upper`, to lie on `below`.

    Raises:
        InvalidArgument: the destination does not fit, a name is unknown.
    """
    try:
        _Copying(copy, upper, below).run(selection, downloads)
    except OSError as error:
        raise InvalidArgument(f"{copy.instruction} failed: {(error.strerror or str(error)).lower()}") from error


class _Copying:
    def __init__(self, copy: Copy, upper: str, below: LayeredTree) -> None:
        self.copy = copy
        self.below = below
        self.writer = LayerWriter(upper, below)
        owner = named_owner(copy.chown, below) if copy.chown else None if copy.keeps_owner else ROOT
        self.metadata = Metadata(owner, copy.chmod)
        self.directory_owner = owner or ROOT
        self.into_directory = copy.destination.endswith("/")

    def run(self, selection: Selection | None, downloads: list[Download]) -> None:
        for source in selection.sources if selection is not None else []:
            assert selection is not None
            if source.found.is_directory:
                self._tree(selection, source)
            elif self._unpacks(source.found):
                self._archive(source.found.path)
            else:
                self.writer.copy(source.found, self._target(source), self.metadata)
        mode = changed_mode(stat.S_IFREG, self.copy.chmod) if self.copy.chmod else None
        for inline in self.copy.inline:
            target = self._target_of(inline.name, "")
            self.writer.write(target, inline.content, 0o644 if mode is None else mode, self.directory_owner)
        for download in downloads:
            self._download(download, mode)

    def _directory(self, place: str) -> str:
        """The destination with `place` below it, made if missing; resolved."""
        resolved = self.writer.resolve(join(self.copy.destination.rstrip("/") or "/", place))
        self.writer.make_directories(resolved.path, self.directory_owner)
        return resolved.path

    def _target(self, source: Source) -> str:
        return self._target_of(source.name, source.place)

    def _target_of(self, name: str, place: str) -> str:
        """Where a single file goes: into the destination if that is a directory, else onto it. Its parent exists then."""
        if self.into_directory or place or self.copy.parents:
            return join(self._directory(place), name)
        resolved = self.writer.resolve(self.copy.destination)
        if resolved.found is not None and resolved.found.is_directory:
            return join(self._directory(""), name)
        self.writer.make_directories(posixpath.dirname(resolved.path), self.directory_owner)
        return resolved.path

    def _tree(self, selection: Selection, source: Source) -> None:
        top = self._directory(source.place)
        resolved = self.writer.resolve(top)
        if resolved.found is not None and not resolved.found.is_directory:
            raise InvalidArgument(f"failed to copy files: failed to copy directory: mkdir {top}: not a directory")
        if source.place:
            self.writer.copy(source.found, top, self.metadata)
        made: set[str] = set()
        for path, found in selection.below(source):
            parent = posixpath.dirname(path)
            if parent and parent not in made:  # its directory is excluded, the file is not
                self.writer.make_directories(join(top, parent), self.directory_owner)
                made.add(parent)
            self.writer.copy(found, join(top, path), self.metadata)
            if found.is_directory:
                made.add(path)

    # --- archives and downloads

    def _unpacks(self, found: Found) -> bool:
        wanted = self.copy.unpack
        if wanted is False or not stat.S_ISREG(found.info.st_mode):
            return False
        return is_archive(found.path)

    def _archive(self, path: str) -> None:
        """Unpack beside the layer, then copy: so that directories which the archive does not name keep their metadata."""
        top = self._directory("")
        staging = tempfile.mkdtemp(prefix="unpack-", dir=posixpath.dirname(self.writer.upper))
        try:
            unpack(path, staging)
            named = explicit_directories(path)
            tree = LayeredTree([staging])
            assert tree.root is not None
            owner = self.metadata.owner if self.copy.chown else None
            places = {"": top}
            for name, found in tree.walk(tree.root):
                parent, _, last = name.rpartition("/")
                target = join(places[parent], last)
                if found.is_directory and name not in named:
                    # Nobody said what this directory is like: an existing one stays, through a link too.
                    target = self.writer.resolve(target).path
                    self.writer.make_directories(target, self.directory_owner)
                else:
                    self.writer.copy(found, target, Metadata(owner, self.copy.chmod))
                places[name] = target
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _download(self, download: Download, mode: int | None) -> None:
        if self.copy.unpack and is_archive(download.path):
            self._archive(download.path)
            return
        found = Found(os.lstat(download.path), [download.path])
        target = self._target_of(download.name, "")
        self.writer.copy(found, target, Metadata(self.directory_owner, oct(mode)[2:] if mode is not None else "600"))
        place = self.writer.upper + target
        mtime_ns = download.mtime_ns or 0
        os.utime(place, ns=(mtime_ns, mtime_ns))


def named_owner(text: str, tree: LayeredTree) -> Owner:
    """`user[:group]` by the tree's own passwd and group files; a user alone gives the group of the same name or number.

    Raises:
        InvalidArgument: `unable to convert uid/gid chown string to host mapping: can't find uid for user x: …`.
    """
    user, colon, group = text.partition(":")
    try:
        uid = _number_of("user", user, tree, "/etc/passwd", "uid")
        if colon and group:
            gid = _number_of("group", group, tree, "/etc/group", "gid")
        else:
            same = _look_up(tree, "/etc/group", user)
            gid = uid if same is None else same
    except SampanError as error:
        raise InvalidArgument(f"unable to convert uid/gid chown string to host mapping: {error.message}") from None
    return Owner(uid, gid)


def _number_of(kind: str, name: str, tree: LayeredTree, path: str, number: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    found = _look_up(tree, path, name)
    if found is None:
        raise InvalidArgument(f"can't find {number} for {kind} {name}: no such {kind}: {name}")
    return found


def _look_up(tree: LayeredTree, path: str, name: str) -> int | None:
    if name.isascii() and name.isdigit():
        return int(name)
    content = tree.read(path, _NAMES_BYTES) or b""
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[0] == name and fields[2].isdigit():
            return int(fields[2])
    return None

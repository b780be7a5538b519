"""Writes files into the upper directory of a layer to be, on top of a tree that it only reads.

What is written is what overlayfs would have written: a directory that exists below is repeated with its own metadata, a
file replaces what is below. The upper directory is fresh and private, so plain paths inside it are safe; every
destination is resolved in the merged tree first.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from typing import NamedTuple

from sampan.build.content import copied_attributes
from sampan.build.tree import Found, LayeredTree, Resolved
from sampan.errors import InvalidArgument

_COPY_BYTES = 1 << 30


class Owner(NamedTuple):
    uid: int
    gid: int


ROOT = Owner(0, 0)


class Metadata(NamedTuple):
    """What a copy is given instead of the source's: None keeps the source's own."""

    owner: Owner | None
    mode: str


class LayerWriter:
    """`upper` is an existing empty directory; `below` what the layer will lie on."""

    def __init__(self, upper: str, below: LayeredTree) -> None:
        self.upper = upper
        self._below = below
        self._links: set[tuple[int, int]] = set()

    def resolve(self, path: str) -> Resolved:
        """`path` in the merged tree, links followed, as it stands now."""
        return LayeredTree([self.upper, *self._below.directories]).resolve(path)

    def make_directories(self, path: str, owner: Owner = ROOT) -> None:
        """Make sure that the resolved absolute `path` is a directory; missing ones get 0755 and `owner`.

        Raises:
            InvalidArgument: something on the way is no directory.
        """
        here = self.upper
        current = self._below.root
        done = ""
        for name in (part for part in path.split("/") if part):
            here = f"{here}/{name}"
            done = f"{done}/{name}"
            current = self._below.child(current, name) if current is not None and current.is_directory else None
            try:
                if stat.S_ISDIR(os.lstat(here).st_mode):
                    continue
                raise InvalidArgument(f"failed to create new directory: mkdir {done}: not a directory")
            except FileNotFoundError:
                pass
            if current is None:
                self._new_directory(here, owner)
            elif current.is_directory:
                self._repeat(here, current)
            else:
                raise InvalidArgument(f"failed to create new directory: mkdir {done}: not a directory")

    def _new_directory(self, place: str, owner: Owner) -> None:
        os.mkdir(place, 0o755)
        os.chmod(place, 0o755)
        if owner != (0, 0):
            os.chown(place, owner.uid, owner.gid)

    def _repeat(self, place: str, below: Found) -> None:
        os.mkdir(place, 0o700)
        info = below.info
        os.chown(place, info.st_uid, info.st_gid)
        os.chmod(place, stat.S_IMODE(info.st_mode))
        for name, value in copied_attributes(below):
            os.setxattr(place, name, value)
        os.utime(place, ns=(info.st_mtime_ns, info.st_mtime_ns))

    def copy(self, found: Found, path: str, metadata: Metadata) -> None:
        """Put one file or (bare) directory at `path`, whose parent exists in the upper directory already.

        A directory on a directory keeps what is inside and takes the new metadata; else the old one is replaced.
        """
        place = self.upper + path
        info = found.info
        if found.is_directory:
            self._copy_directory(place, path, found, metadata)
        else:
            self._clear(place)
            if stat.S_ISREG(info.st_mode):
                if self._link(found, place, metadata):
                    return
                _copy_bytes(found.path, place)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(found.path), place)
            elif stat.S_ISSOCK(info.st_mode):
                return
            else:
                os.mknod(place, info.st_mode, info.st_rdev)
        apply_metadata(place, found, metadata)

    def _copy_directory(self, place: str, path: str, found: Found, metadata: Metadata) -> None:
        try:
            os.mkdir(place, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                self._clear(place)
                os.mkdir(place, 0o755)

    def _clear(self, place: str) -> None:
        try:
            os.unlink(place)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            shutil.rmtree(place)

    def _link(self, found: Found, place: str, metadata: Metadata) -> bool:
        """A hard link instead of a copy where nothing differs: layers are never written in place, so the file may be
        shared. Not twice in one layer, where it would show as one file with two names."""
        info = found.info
        owner = metadata.owner
        if metadata.mode or (owner is not None and owner != (info.st_uid, info.st_gid)):
            return False
        identity = (info.st_dev, info.st_ino)
        if identity in self._links:
            return False
        try:
            os.link(found.path, place, follow_symlinks=False)
        except OSError:
            return False
        self._links.add(identity)
        return True

    def write(self, path: str, content: bytes, mode: int, owner: Owner, mtime_ns: int | None = None) -> None:
        """Put a new regular file at `path`."""
        place = self.upper + path
        self._clear(place)
        with open(place, "xb") as file:
            file.write(content)
            os.fchown(file.fileno(), owner.uid, owner.gid)
            os.fchmod(file.fileno(), mode)
        if mtime_ns is not None:
            os.utime(place, ns=(mtime_ns, mtime_ns))


def apply_metadata(place: str, found: Found, metadata: Metadata) -> None:
    """Owner, mode, attributes and time of `found` for its copy at `place`."""
    info = found.info
    owner = metadata.owner or Owner(info.st_uid, info.st_gid)
    os.chown(place, owner.uid, owner.gid, follow_symlinks=False)
    if not found.is_link:
        mode = changed_mode(info.st_mode, metadata.mode) if metadata.mode else stat.S_IMODE(info.st_mode)
        os.chmod(place, mode)
        for name, value in copied_attributes(found):
            os.setxattr(place, name, value)
    os.utime(place, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)


def _copy_bytes(source: str, place: str) -> None:
    with open(source, "rb", buffering=0) as reader, open(place, "xb", buffering=0) as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), _COPY_BYTES):
                pass
        except OSError:
            # Across file systems or on odd ones; the position says where it stopped.
            shutil.copyfileobj(reader, writer, 1 << 20)


_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}


def changed_mode(mode: int, change: str) -> int:
    """chmod(1)'s octal or symbolic `change` (`755`, `u=rwX,go-w`) applied to a file of st_mode `mode`.

    Raises:
        InvalidArgument: it is neither.
    """
    if change.isascii() and change.isdigit():
        try:
            value = int(change, 8)
        except ValueError:
            value = 0o10000
        if value > 0o7777:
            raise InvalidArgument(
                f'invalid chmod parameter: "{change}". it should be octal string and between 0 and 07777'
            )
        return value
    bits = stat.S_IMODE(mode)
    for clause in change.split(","):
        bits = _apply_clause(bits, clause, mode, change)
    return bits


def _apply_clause(bits: int, clause: str, mode: int, change: str) -> int:
    at = next((index for index, char in enumerate(clause) if char in "+-="), -1)
    if at < 0 or any(char not in _WHO for char in clause[:at]):
        raise InvalidArgument(f'invalid chmod parameter: "{change}". it should be octal string and between 0 and 07777')
    mask = 0
    for char in clause[:at] or "a":
        mask |= _WHO[char]
    operator, wanted = clause[at], 0
    for char in clause[at + 1 :]:
        if char == "X":
            wanted |= 0o111 if stat.S_ISDIR(mode) or bits & 0o111 else 0
        elif char in "rwxst":
            wanted |= {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}[char]
        else:
            raise InvalidArgument(
                f'invalid chmod parameter: "{change}". it should be octal string and between 0 and 07777'
            )
    wanted &= mask
    if operator == "+":
        return bits | wanted
    if operator == "-":
        return bits & ~wanted
    return (bits & ~(mask & 0o777)) | wanted


def join(directory: str, name: str) -> str:
    """`directory/name` for absolute tree paths."""
    return posixpath.join(directory, name) if name else directory

"""Unpack an archive that a container made: its names and links are not to be trusted.

Every parent is opened without following links, so no entry can lead outside the destination; nothing is written through a
link, whoever made it. A file never replaces a directory nor a directory a file.
"""

from __future__ import annotations

import os
import stat
import tarfile

from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_SIZE = 256 * 1024


class PieceReader:
    """A file object for tarfile's stream mode over an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        parts, have = [], 0
        while size < 0 or have < size:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            take = self._rest if size < 0 else self._rest[: size - have]
            self._rest = self._rest[len(take) :]
            parts.append(take)
            have += len(take)
        self.count += have
        return b"".join(parts)


def unpack(pieces: Iterator[bytes], destination: str, rename: Callable[[str], str], *, keep_owner: bool) -> int:
    """Unpack into the existing directory `destination`; the bytes of the files. Raises InvalidArgument, OSError."""
    root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    unpacker = _Unpacker(root, keep_owner)
    try:
        with tarfile.open(fileobj=PieceReader(pieces), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                unpacker.add(archive, member, rename)
        unpacker.finish()
    except tarfile.TarError as error:
        raise InvalidArgument(f"the engine's archive is damaged: {error}") from None
    finally:
        os.close(root)
    for _ in pieces:
        pass  # to the end of the answer, so that its connection can be used again
    return unpacker.size_bytes


class _Unpacker:
    def __init__(self, root: int, keep_owner: bool) -> None:
        self._root = root
        self._keep_owner = keep_owner
        self._directories: list[tuple[list[str], tarfile.TarInfo]] = []
        self.size_bytes = 0

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, rename: Callable[[str], str]) -> None:
        parts = _parts(rename(member.name))
        if not parts:
            return
        parent = self._open(parts[:-1], create=True)
        try:
            name = parts[-1]
            if member.isdir():
                self._make_directory(parent, name)
                self._directories.append((parts, member))
                return
            self._clear(parent, name)
            if member.isreg():
                self._write(archive.extractfile(member), parent, name)
                self.size_bytes += member.size
            elif member.issym():
                os.symlink(member.linkname, name, dir_fd=parent)
            elif member.islnk():
                self._link(_parts(rename(member.linkname)), parent, name)
                return
            elif member.isfifo():
                os.mkfifo(name, dir_fd=parent)
            else:
                kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
                os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
            self._dress(parent, name, member)
        finally:
            os.close(parent)

    def finish(self) -> None:
        """Modes and times of directories, last: a read-only directory must be filled first."""
        for parts, member in reversed(self._directories):
            parent = self._open(parts[:-1], create=False)
            try:
                self._dress(parent, parts[-1], member)
            finally:
                os.close(parent)

    def _open(self, parts: list[str], *, create: bool) -> int:
        fd = os.dup(self._root)
        for part in parts:
            try:
                try:
                    inner = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    if not create:
                        raise
                    os.mkdir(part, 0o755, dir_fd=fd)
                    inner = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                raise InvalidArgument(f"cannot unpack into {'/'.join(parts)!r}: {error.strerror}") from None
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _make_directory(self, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise InvalidArgument(f"cannot overwrite non-directory {name!r} with directory") from None

    def _clear(self, parent: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise InvalidArgument(f"cannot overwrite directory {name!r} with non-directory") from None
            raise

    def _write(self, source: IO[bytes] | None, parent: int, name: str) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        with open(fd, "wb") as target:
            while source is not None and (piece := source.read(_PIECE_SIZE)):
                target.write(piece)

    def _link(self, target: list[str], parent: int, name: str) -> None:
        if not target:
            raise InvalidArgument(f"the archive links {name!r} to nothing")
        holder = self._open(target[:-1], create=False)
        try:
            os.link(target[-1], name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(holder)

    def _dress(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if self._keep_owner:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if not member.issym():
            # Linux has no fchmodat without following links; it is no link, we have just made it.
            os.chmod(name, member.mode & 0o7777, dir_fd=parent)
        os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)


def _parts(name: str) -> list[str]:
    """The names of a path inside the archive. Raises InvalidArgument if it climbs."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidArgument(f"the archive names a path outside of it: {name!r}")
    return parts

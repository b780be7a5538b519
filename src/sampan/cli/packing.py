"""Tar archives made as they are sent: nothing is held in memory but one piece, nothing is written to disk.

Deterministic for the same files: names sorted, pax headers only where ustar cannot say it, no user names.
"""

from __future__ import annotations

import os
import stat
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE_SIZE = 256 * 1024
_BLOCK = 512
END_OF_ARCHIVE = b"\0" * (2 * _BLOCK)


def member_header(path: str, name: str, *, root_owned: bool = False) -> tuple[bytes, int] | None:
    """(header, size of the file that follows); None for what tar cannot hold (sockets)."""
    found = os.lstat(path)
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(found.st_mode)
    info.mtime = int(found.st_mtime)
    if not root_owned:
        info.uid, info.gid = found.st_uid, found.st_gid
    if stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
        info.name = name.rstrip("/") + "/"
    elif stat.S_ISLNK(found.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        info.size = found.st_size
    elif stat.S_ISFIFO(found.st_mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(found.st_mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    else:
        return None
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"), info.size


def file_header(name: str, size_bytes: int, mode: int = 0o600) -> bytes:
    """The header of a regular file that exists only in memory; owned by root, of the year 1970."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, mode
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size_bytes: int) -> bytes:
    return b"\0" * (-size_bytes % _BLOCK)


def pack_member(path: str, name: str, *, root_owned: bool = False) -> Iterator[bytes]:
    """One file, link or directory without what is in it.

    A file that shrinks meanwhile is filled up with zeros, one that grows is cut: the header has been sent.
    """
    made = member_header(path, name, root_owned=root_owned)
    if made is None:
        return
    header, size = made
    if not size:
        yield header
        return
    with open(path, "rb", buffering=0) as file:
        yield header
        left = size
        while left:
            piece = file.read(min(left, _PIECE_SIZE)) or b"\0" * min(left, _PIECE_SIZE)
            left -= len(piece)
            yield piece
    yield padding(size)


def pack_tree(path: str, name: str) -> Iterator[bytes]:
    """`path` as `name`, with everything below it, and the end of the archive."""
    for found, member in walk(path, name):
        yield from pack_member(found, member)
    yield END_OF_ARCHIVE


def walk(path: str, name: str, skip: Callable[[str, bool], bool] | None = None) -> Iterator[tuple[str, str]]:
    """(path, name in the archive) of `path` and what is below, parents first, sorted. Symbolic links are not followed.

    `skip(name, is_directory)` leaves a directory with all below out.
    """
    yield path, name
    if os.path.islink(path) or not os.path.isdir(path):
        return
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        member = f"{name}/{entry.name}" if name else entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        if skip is not None and skip(member, is_directory):
            continue
        if is_directory:
            yield from walk(entry.path, member, skip)
        else:
            yield entry.path, member

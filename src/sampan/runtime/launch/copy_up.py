"""Copy what a mount point holds into the tmpfs that is about to cover it (`tmpcopyup`)."""

from __future__ import annotations

import os
import stat


def copy_tree(source: int, destination: int) -> None:
    """Copy the entries of directory `source` to `destination` with mode and owner; other kinds than files, directories
    and symlinks are left out."""
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
        elif stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=destination)
            inner = [os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=one)
                     for one in (source, destination)]  # fmt: skip
            copy_tree(inner[0], inner[1])
            for one in inner:
                os.close(one)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(name, source, destination)
        else:
            continue
        os.chown(name, found.st_uid, found.st_gid, dir_fd=destination, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=destination)


def _copy_file(name: str, source: int, destination: int) -> None:
    reader = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=source)
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=destination)
    while os.sendfile(writer, reader, None, 1 << 24):
        pass
    os.close(reader)
    os.close(writer)

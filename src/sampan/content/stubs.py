"""The mount points that every container needs, as a directory to put below all layers."""

from __future__ import annotations

import os
import shutil


def make_stubs(path: str) -> None:
    """A directory to put below all layers: the mount points that every container needs.

    With it, mounting over /etc/hosts writes nothing into a container's upper directory, and `diff` and `commit` show only
    what the container did. As the lowest layer it changes nothing that an image brings. (Docker's "init layer".)
    """
    if os.path.exists(path):
        return
    work = path + ".new"
    if os.path.exists(work):
        shutil.rmtree(work)
    for directory in ("", "dev", "dev/pts", "dev/shm", "etc", "proc", "sys"):
        os.mkdir(os.path.join(work, directory))
        os.chmod(os.path.join(work, directory), 0o755)
    for file in (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"):
        fd = os.open(os.path.join(work, file), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        os.fchmod(fd, 0o755 if file == ".dockerenv" else 0o644)
        os.close(fd)
    os.symlink("/proc/mounts", os.path.join(work, "etc/mtab"))
    os.rename(work, path)

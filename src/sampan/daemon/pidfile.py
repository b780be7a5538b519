"""One engine per exec root and per data root: locks that the kernel drops with the process, and the PID file for tools."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from sampan.errors import Unavailable


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock `path`, which stands for its directory, for the length of the block.

    Raises:
        Unavailable: another engine holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another engine runs on {os.path.dirname(path)}",
                hint="stop it, or start this one with --data-root and --exec-root of its own",
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Name this process in the PID file `path` for the length of the block."""
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

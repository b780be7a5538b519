"""One engine per exec root: a lock that the kernel drops with the process, and the PID file that tools look for."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from sampan.errors import Unavailable


@contextlib.contextmanager
def held(lock_path: str, pid_path: str) -> Iterator[None]:
    """Hold the lock for the length of the block and name this process in `pid_path`.

    Raises:
        Unavailable: another engine holds it.
    """
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another engine runs on {os.path.dirname(lock_path)}",
                hint="stop it, or start this one with --data-root and --exec-root of its own",
            ) from None
        with open(pid_path, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(pid_path)
    finally:
        os.close(descriptor)

"""The interpreter file that zygote and shims execute, out of reach of containers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator

from sampan.linux.process import open_interpreter


@contextlib.contextmanager
def protected_interpreter() -> Iterator[str]:
    """A path from which to execute this interpreter such that nobody can write to it through `/proc/<pid>/exe`."""
    try:
        opened = open_interpreter(os.path.realpath(sys.executable))
    except OSError:
        # Neither mounts nor memory files: no privileges, so no container will be entered with any either.
        yield os.path.realpath(sys.executable)
        return
    # Out of the way of the low numbers that the caller hands to the child.
    descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(opened)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)

"""The interpreter file that zygote and shims execute, out of reach of containers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sampan.linux.process import open_interpreter


@contextlib.contextmanager
def protected_interpreter() -> Iterator[str]:
    """A path from which to execute this interpreter such that nobody can write to it through `/proc/<pid>/exe`."""
    descriptor = open_interpreter()
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)

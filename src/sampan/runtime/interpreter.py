"""The interpreter file that zygote and shims execute, out of reach of containers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def protected_interpreter() -> Iterator[str]:
    """A path from which to execute this interpreter such that nobody can write to it through `/proc/<pid>/exe`."""
    yield os.path.realpath(sys.executable)

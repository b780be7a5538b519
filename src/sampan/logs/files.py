"""The files of one log in the order of their writing, while a writer appends and rotates them."""

from __future__ import annotations

import os

_READ_BYTES = 1 << 20


def paths(path: str) -> list[str]:
    """Existing files of a log, oldest first."""
    found = []
    number = 1
    while os.path.exists(f"{path}.{number}"):
        found.append(f"{path}.{number}")
        number += 1
    found.reverse()
    if os.path.exists(path):
        found.append(path)
    return found


class FileSequence:
    """Reads from a position to the present end, over rotations.

    A file that is renamed while we read it is read to its end and then left for the next younger one. If the writer has
    rotated our file out of existence, reading goes on with the oldest that is left.
    """

    def __init__(self, path: str, *, start: tuple[str, int] | None = None) -> None:
        self._path = path
        self._fd = -1
        self._offset = 0
        self.switched = False
        """Set when the last `read` began a new file: what is left of a record from before is torn."""
        if start is not None:
            self._open(start[0], start[1])

    def _open(self, path: str, offset: int = 0) -> bool:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.close()
        self._fd, self._offset = fd, offset
        return True

    def read(self, limit_bytes: int = _READ_BYTES) -> bytes:
        """The next bytes; empty at the present end."""
        self.switched = False
        while True:
            if self._fd >= 0:
                data = os.pread(self._fd, limit_bytes, self._offset)
                if data:
                    self._offset += len(data)
                    return data
            if not self._next_file():
                return b""
            self.switched = True

    def _next_file(self) -> bool:
        if self._fd < 0:
            candidates = paths(self._path)
            return bool(candidates) and self._open(candidates[0])
        ours = os.fstat(self._fd)
        candidates = paths(self._path)
        for index, candidate in enumerate(candidates):
            try:
                other = os.stat(candidate)
            except FileNotFoundError:
                continue
            if (other.st_ino, other.st_dev) == (ours.st_ino, ours.st_dev):
                if index + 1 == len(candidates):
                    return False
                if os.fstat(self._fd).st_size > self._offset:  # written between our read and the rotation
                    return True
                return self._open(candidates[index + 1])
        return bool(candidates) and self._open(candidates[0])

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

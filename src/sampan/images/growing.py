"""A file that one thread reads while another still writes it: a layer is unpacked while it downloads."""

from __future__ import annotations

import os
import threading


class Abandoned(Exception):
    """The download ended without the rest of the bytes."""


class GrowingFile:
    """A reader over the first `size_bytes` of the file at `path`, of which `available` are written so far.

    `read` waits for bytes; nothing is held in memory. The file may be renamed or unlinked meanwhile.
    """

    def __init__(self, path: str, size_bytes: int, available: int = 0) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size_bytes = size_bytes
        self._available = available
        self._abandoned = False
        self._changed = threading.Condition()
        self.position = 0
        """How far the reader is; for progress, so a stale value is harmless."""

    def advance(self, available: int) -> None:
        """The writer says how many bytes are there."""
        with self._changed:
            self._available = available
            self._changed.notify_all()

    def abandon(self) -> None:
        """No more bytes will come: a waiting reader gets `Abandoned` at once."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def read(self, size: int = 1 << 20, /) -> bytes:
        """Up to `size` bytes; b"" after the last one.

        Raises:
            Abandoned: the writer gave up.
        """
        with self._changed:
            while self._available <= self.position < self._size_bytes and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise Abandoned
            ready = min(self._available, self._size_bytes) - self.position
        data = os.pread(self._fd, min(size, ready), self.position) if ready > 0 else b""
        self.position += len(data)
        return data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

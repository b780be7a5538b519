"""The `local` driver's file format: raw chunks as they were read from the process, bounded and rotated by default.

A record is `stream u8, time_ns u64 LE, length u32 LE, payload, length u32 LE`. The trailing length lets a reader walk
backwards (`tail`). A record holds what one read gave, not one line: writing 100 MB of short lines costs 1,600 writes.

Files: `PATH` (current), `PATH.1` … `PATH.N` (older, renamed at rotation). A record that a crash or a full disk cut short
is removed when the file is opened for writing next, and skipped by readers.
"""

from __future__ import annotations

import os
import struct
import time

HEADER = struct.Struct("<BQI")
TRAILER = struct.Struct("<I")
OVERHEAD_BYTES = HEADER.size + TRAILER.size
DEFAULT_MAX_SIZE_BYTES = 20 * 1000 * 1000
DEFAULT_MAX_FILES = 5
MAX_PAYLOAD_BYTES = 1 << 20


class LocalWriter:
    """Appends records. Never raises for a full disk: what does not fit is dropped, and counted in `dropped_bytes`."""

    def __init__(
        self, path: str, *, max_size_bytes: int = DEFAULT_MAX_SIZE_BYTES, max_files: int = DEFAULT_MAX_FILES
    ) -> None:
        self._path = path
        self._max_size_bytes = max_size_bytes  # <= 0: unlimited
        self._max_files = max(1, max_files)
        self.dropped_bytes = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        size_bytes = os.fstat(self._fd).st_size
        self._size_bytes = repaired_size(self._fd, size_bytes)
        if self._size_bytes != size_bytes:
            os.ftruncate(self._fd, self._size_bytes)

    def write(self, stream: int, data: bytes) -> None:
        length_bytes = len(data)
        total_bytes = length_bytes + OVERHEAD_BYTES
        if 0 < self._max_size_bytes < self._size_bytes + total_bytes and self._size_bytes:
            self._rotate()
        parts = (HEADER.pack(stream, time.time_ns(), length_bytes), data, TRAILER.pack(length_bytes))
        try:
            written = os.writev(self._fd, parts)
        except OSError:
            written = 0
        if written == total_bytes:
            self._size_bytes += total_bytes
            return
        self.dropped_bytes += length_bytes
        if written:
            os.ftruncate(self._fd, self._size_bytes)

    def _rotate(self) -> None:
        try:
            rotate(self._path, self._max_files)
            os.close(self._fd)
            self._open()
        except OSError:  # no inode for a new file: stay with the old one rather than lose the container's output
            self._size_bytes = 0

    def close(self) -> None:
        os.close(self._fd)


def rotate(path: str, max_files: int) -> None:
    """Shift `path` to `path.1` and so on; `max_files` includes the current one. With 1, the current file is emptied."""
    if max_files == 1:
        os.unlink(path)
        return
    for number in range(max_files - 1, 0, -1):
        source = path if number == 1 else f"{path}.{number - 1}"
        try:
            os.rename(source, f"{path}.{number}")
        except FileNotFoundError:
            pass


def repaired_size(fd: int, size_bytes: int) -> int:
    """The size of the whole records at the start of the file: `size_bytes` unless its last record is torn."""
    if size_bytes == 0 or previous_record(fd, size_bytes) is not None:
        return size_bytes
    offset = 0
    while offset + OVERHEAD_BYTES <= size_bytes:
        header = os.pread(fd, HEADER.size, offset)
        _, _, length_bytes = HEADER.unpack(header)
        end = offset + OVERHEAD_BYTES + length_bytes
        if length_bytes > MAX_PAYLOAD_BYTES or end > size_bytes:
            break
        offset = end
    return offset


def previous_record(fd: int, end: int) -> int | None:
    """The offset of the record that ends at `end`, or None if no whole record does."""
    if end < OVERHEAD_BYTES:
        return None
    (length_bytes,) = TRAILER.unpack(os.pread(fd, TRAILER.size, end - TRAILER.size))
    start = end - OVERHEAD_BYTES - length_bytes
    if start < 0 or length_bytes > MAX_PAYLOAD_BYTES:
        return None
    stream, _, length_again = HEADER.unpack(os.pread(fd, HEADER.size, start))
    return int(start) if stream in (1, 2) and length_again == length_bytes else None

"""Let threads overlap what releases the interpreter's lock: inflating, hashing, system calls."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from sampan.tar.reader import Readable
from sampan.tar.writer import Writable

CHUNK_SIZE = 1 << 20
_DEPTH = 8


class Tap(Protocol):
    """Sees all bytes that pass, in a thread of its own: a hash, a compressor."""

    def update(self, data: bytes, /) -> object: ...


class Cancelled(Exception):
    """The other end of a pipe was closed."""


class ReadAhead:
    """Read `source` in a thread of its own, at most 8 MiB ahead; another thread feeds `taps` with the same bytes.

    `read` hands out chunks as they come (never more than 1 MiB, so ask for at least that). The taps have seen
    everything once `read` has given b""; what a tap raises, `read` raises then. `size_bytes` counts what was read.
    """

    def __init__(self, source: Readable, *taps: Tap) -> None:
        self._source = source
        self._taps = taps
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(_DEPTH)
        self._to_hash: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._closed = False
        self._ended = False
        self._fault: BaseException | None = None
        self.size_bytes = 0
        self._threads = [threading.Thread(target=self._pump, name="read-ahead", daemon=True)]
        if taps:
            self._threads.append(threading.Thread(target=self._hash, name="hash", daemon=True))
        for thread in self._threads:
            thread.start()

    def _pump(self) -> None:
        try:
            while not self._closed:
                data = self._source.read(CHUNK_SIZE)
                if self._taps:
                    self._to_hash.put(data or None)
                self._chunks.put(data)
                if not data:
                    return
        except BaseException as error:
            self._chunks.put(error)
        if self._taps:
            self._to_hash.put(None)

    def _hash(self) -> None:
        while (data := self._to_hash.get()) is not None:
            if self._fault is not None:
                continue  # keep draining, or the pump would wait forever
            try:
                for tap in self._taps:
                    tap.update(data)
            except BaseException as error:
                self._fault = error

    def read(self, size: int, /) -> bytes:
        """The next chunk, b"" at the end; raises what reading the source raised."""
        if self._ended:
            return b""
        data = self._chunks.get()
        if isinstance(data, BaseException):
            self._ended = True
            raise data
        if not data:
            self._ended = True
            for thread in self._threads:
                thread.join()
            if self._fault is not None:
                raise self._fault
        self.size_bytes += len(data)
        return data

    def close(self) -> None:
        """Stop the threads (they finish the chunk at hand) and wait for them."""
        self._closed = True
        while any(thread.is_alive() for thread in self._threads):
            try:
                self._chunks.get(timeout=0.01)
            except queue.Empty:
                pass


class Produced:
    """The other way round: `produce(out)` writes in a thread of its own, `read` gives what it wrote."""

    def __init__(self, produce: Callable[[Writable], object]) -> None:
        self._produce = produce
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(_DEPTH)
        self._closed = False
        self._ended = False
        self._rest = b""
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._produce(self)
            self._chunks.put(b"")
        except Cancelled:
            self._chunks.put(b"")
        except BaseException as error:
            self._chunks.put(error)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if self._closed:
            raise Cancelled
        if data:
            self._chunks.put(bytes(data))
        return len(data)

    def read(self, size: int = CHUNK_SIZE, /) -> bytes:
        """Up to `size` bytes; raises what the producer raised."""
        if not self._rest and not self._ended:
            data = self._chunks.get()
            if isinstance(data, BaseException):
                self._ended = True
                raise data
            self._ended = not data
            self._rest = data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Stop the producer at its next write and wait for it."""
        self._closed = True
        while self._thread.is_alive():
            try:
                self._chunks.get(timeout=0.01)
            except queue.Empty:
                pass


class HashingWriter:
    """Count and hash what passes through to `out` (None: nowhere)."""

    def __init__(self, out: Writable | None = None) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._hash.update(data)
        self.size += len(data)
        if self._out is not None:
            self._out.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

"""Blobs by digest, laid out as in the OCI image layout: `blobs/<algorithm>/<hex>`.

A blob is complete and verified or it is absent: bytes go to `ingest/`, are hashed on the way, synced, and renamed into place.
A name that is there may be trusted without another look at the content.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from typing import BinaryIO

from sampan.errors import Internal, InvalidArgument, NotFound
from sampan.types.digest import Digest

_REHASH_CHUNK = 1 << 20
_PARTIAL_AGE_S = 24 * 3600


class DigestMismatch(InvalidArgument):
    """The content is not what its digest or size promised."""


class BlobStore:
    """All methods may be called from any thread; two writers of one blob do not disturb each other."""

    def __init__(self, root: str) -> None:
        """`root` and what it needs below it are made."""
        self.root = root
        self._blobs = os.path.join(root, "blobs")
        self._ingest = os.path.join(root, "ingest")
        self._serial = 0
        self._lock = threading.Lock()
        os.makedirs(os.path.join(self._blobs, "sha256"), mode=0o700, exist_ok=True)
        os.makedirs(self._ingest, mode=0o700, exist_ok=True)

    def path(self, digest: str) -> str:
        """Where the blob is, or would be. Raises InvalidArgument for what is not a digest (so no name leads elsewhere)."""
        checked = Digest.parse(digest)
        return os.path.join(self._blobs, checked.algorithm, checked.hex)

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """In bytes. Raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise NotFound(f"blob not found: {digest}") from None

    def open(self, digest: str) -> BinaryIO:
        """Open for reading, unbuffered. Raises NotFound."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise NotFound(f"blob not found: {digest}") from None

    def read(self, digest: str, *, limit_bytes: int = 16 << 20) -> bytes:
        """A small blob (manifest, config) as a whole. Raises NotFound, and InvalidArgument if it is above the limit."""
        if self.size(digest) > limit_bytes:
            raise InvalidArgument(f"blob {digest} is larger than {limit_bytes} bytes")
        with self.open(digest) as file:
            return file.read()

    def put(self, content: bytes, expected_digest: str | None = None) -> Digest:
        """Store small content at once; gives its digest."""
        digest = Digest("sha256:" + hashlib.sha256(content).hexdigest()) if expected_digest is None else expected_digest
        if self.has(digest):
            return Digest.parse(digest)
        writer = self.begin(digest, len(content))
        try:
            writer.write(content)
            return writer.commit()
        finally:
            writer.abort()

    def begin(self, expected_digest: str | None = None, expected_size: int | None = None) -> BlobWriter:
        """Start to write a blob, or resume it: `offset` says how many bytes are here from an earlier try."""
        if expected_digest is not None:
            expected_digest = Digest.parse(expected_digest)
            name = expected_digest.replace(":", "-") + ".partial"
            fd = self._open_ingest(name)
            if fd is not None:
                return BlobWriter(self, name, fd, expected_digest, expected_size)
        with self._lock:
            self._serial += 1
            name = f"{os.getpid()}-{self._serial}-{os.urandom(4).hex()}"
        fd = self._open_ingest(name)
        assert fd is not None
        return BlobWriter(self, name, fd, expected_digest, expected_size)

    def _open_ingest(self, name: str) -> int | None:
        """Open and lock a file of `ingest/`; None if another writer has it."""
        fd = os.open(os.path.join(self._ingest, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:  # else the other writer has just renamed or removed it
                return fd
        except BlockingIOError:
            pass
        os.close(fd)
        return None

    def delete(self, digest: str) -> int:
        """Remove the blob; gives the bytes freed, 0 if there was none."""
        path = self.path(digest)
        try:
            size = os.stat(path).st_size
            os.unlink(path)
        except FileNotFoundError:
            return 0
        return size

    def list(self) -> list[Digest]:
        """Every blob."""
        found: list[Digest] = []
        for algorithm in os.listdir(self._blobs):
            for name in os.listdir(os.path.join(self._blobs, algorithm)):
                found.append(Digest.parse(f"{algorithm}:{name}"))
        return found

    def clean(self) -> None:
        """At start-up: drop what no writer can resume, and partial downloads that nobody has resumed for a day."""
        oldest = time.time() - _PARTIAL_AGE_S
        for name in os.listdir(self._ingest):
            path = os.path.join(self._ingest, name)
            if not name.endswith(".partial") or os.stat(path).st_mtime < oldest:
                os.unlink(path)


class BlobWriter:
    """One blob under way. Ends with `commit` or `abort`; both may be called again without effect."""

    def __init__(self, store: BlobStore, name: str, fd: int, digest: str | None, size: int | None) -> None:
        self._store = store
        self._path = os.path.join(store._ingest, name)
        self._fd = fd
        self._expected = Digest.parse(digest) if digest is not None else None
        self._expected_size = size
        self._hash = hashlib.new(self._expected.algorithm if self._expected else "sha256")
        self.offset = 0
        while data := os.read(fd, _REHASH_CHUNK):
            self._hash.update(data)
            self.offset += len(data)

    @property
    def partial_path(self) -> str:
        """Where the bytes are until `commit` renames them: a reader may follow them as they grow."""
        return self._path

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append. Raises DigestMismatch as soon as there is more than the expected size; Internal if the disk is full."""
        if self._expected_size is not None and self.offset + len(data) > self._expected_size:
            self.abort()
            raise DigestMismatch(f"blob {self._expected} is longer than {self._expected_size} bytes")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise Internal(f"failed to write blob: {(error.strerror or '').lower()}") from error
        self._hash.update(data)
        self.offset += len(data)
        return len(data)

    def restart(self) -> None:
        """Forget what was written: the server would not resume."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.ftruncate(self._fd, 0)
        self._hash = hashlib.new(self._expected.algorithm if self._expected else "sha256")
        self.offset = 0

    def commit(self) -> Digest:
        """Verify, sync and put into place.

        Raises:
            DigestMismatch: size or digest differ; nothing is kept.
        """
        digest = Digest(f"{self._hash.name}:{self._hash.hexdigest()}")
        size_differs = self._expected_size is not None and self.offset != self._expected_size
        if size_differs or (self._expected is not None and digest != self._expected):
            offset = self.offset
            self.abort()
            if size_differs:
                raise DigestMismatch(f"unexpected size of blob: got {offset} bytes, expected {self._expected_size}")
            raise DigestMismatch(f"filesystem layer verification failed for digest {self._expected}: got {digest}")
        os.fdatasync(self._fd)
        target = self._store.path(digest)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.rename(self._path, target)
        self._close()
        return digest

    def suspend(self) -> None:
        """Stop, and keep what is here so that a later `begin` of the same digest resumes."""
        if self._fd >= 0:
            self._close()

    def abort(self) -> None:
        """Stop and remove."""
        if self._fd >= 0:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
            self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

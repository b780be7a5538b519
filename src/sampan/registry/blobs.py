"""Blobs in both directions: resumable fetch into a writer, existence, mounts, resumable upload.

Distribution specification 1.1, "Pulling blobs" and "Pushing blobs".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, Protocol
from urllib.parse import quote, urlencode, urljoin, urlsplit, urlunsplit

import aiohttp

from sampan.errors import Internal, NotFound, SampanError, Unauthorized
from sampan.registry.client import Repository, retried
from sampan.registry.failures import TransientError
from sampan.types.digest import Digest

_BATCH_BYTES = 1 << 20
_LEAST_PROGRESS_BYTES = 256 << 10
_UPLOAD_CHUNK_BYTES = 1 << 20
_UPLOAD_STATES = frozenset((202, 204))
_CREATED = frozenset((201,))
_STARTED = frozenset((201, 202))
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")

Progress = Callable[[int], None]


class Writer(Protocol):
    """Where a blob goes. `offset` bytes are there already, from this attempt or an earlier one."""

    @property
    def offset(self) -> int: ...

    def write(self, data: bytes) -> object: ...


async def fetch_blob(
    repository: Repository,
    digest: Digest,
    size_bytes: int,
    writer: Writer,
    progress: Progress | None = None,
    on_retry: Callable[[float], None] | None = None,
) -> None:
    """Stream a blob into `writer`, in a thread, a megabyte at a time, from `writer.offset` on.

    A broken connection is taken up again where it broke (or from the start, skipping what is there, where the server does
    not know ranges). A round of attempts that brought a quarter of a megabyte starts the count of attempts anew: a long
    blob over a bad line gets through, while a dead server does not hold us for long. The content is *not* verified here:
    the writer's commit does that.

    Raises:
        Internal: the server sends more than `size_bytes`, or gave up.
    """
    while True:
        before = writer.offset
        try:
            await retried(
                lambda: _fetch_rest(repository, digest, size_bytes, writer, progress),
                repository.registry.settings.max_attempts,
                on_retry,
                unreachable_too=True,
            )
            return
        except TransientError:
            if writer.offset < before + _LEAST_PROGRESS_BYTES:
                raise


async def _fetch_rest(
    repository: Repository, digest: Digest, size_bytes: int, writer: Writer, progress: Progress | None
) -> None:
    start = writer.offset
    if start >= size_bytes:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    target = repository.url(f"blobs/{digest}")
    async with repository.request("GET", target, headers=headers, accept_status=frozenset((200, 206))) as response:
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise Internal(f"registry answered a wrong range for blob {digest}")
        skip = start if response.status == 200 else 0
        await _copy(repository, response, digest, size_bytes, writer, skip, progress)
    if writer.offset < size_bytes:
        raise TransientError(f"blob {digest}: unexpected EOF after {writer.offset} of {size_bytes} bytes")


async def _copy(
    repository: Repository,
    response: aiohttp.ClientResponse,
    digest: Digest,
    size_bytes: int,
    writer: Writer,
    skip: int,
    progress: Progress | None,
) -> None:
    """Receive and write at the same time: while one batch is written and hashed in a thread, the next one arrives."""
    loop = asyncio.get_running_loop()
    threads = repository.registry.threads
    writing: asyncio.Future[object] | None = None
    batch: list[bytes] = []
    batched = 0
    received = writer.offset
    try:
        while True:
            part = await response.content.readany()
            if skip and part:
                dropped = min(skip, len(part))
                skip -= dropped
                part = part[dropped:]
                if not part:
                    continue
            received += len(part)
            if received > size_bytes:
                raise Internal(f"registry sends more than the {size_bytes} bytes that blob {digest} has")
            batch.append(part)
            batched += len(part)
            if batched >= _BATCH_BYTES or not part:
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(threads, writer.write, b"".join(batch))
                if progress:
                    progress(received)
                batch, batched = [], 0
            if not part:
                return
    finally:
        if batch:
            # The connection broke: what came in is kept, the next attempt goes on behind it.
            if writing is not None:
                await asyncio.shield(writing)
            await asyncio.shield(loop.run_in_executor(threads, writer.write, b"".join(batch)))
        elif writing is not None:
            await asyncio.shield(writing)


async def has_blob(repository: Repository, digest: Digest) -> bool:
    """Whether the repository holds a blob; what a registry will not tell counts as no."""
    try:
        async with repository.request("HEAD", repository.url(f"blobs/{digest}")):
            return True
    except (NotFound, Unauthorized):
        return False


async def push_blob(
    repository: Repository,
    digest: Digest,
    size_bytes: int,
    open_content: Callable[[], BinaryIO],
    *,
    mount_from: str = "",
    progress: Progress | None = None,
) -> bool:
    """Upload a blob; True if the registry mounted it from the repository `mount_from` instead.

    One streamed PATCH and a PUT, as Docker does; a broken one goes on behind what the server says that it has.

    Raises:
        Internal: the registry refuses or stores something else.
    """
    location = await retried(
        lambda: _start_upload(repository, digest, mount_from), repository.registry.settings.max_attempts
    )
    if not location:
        return True
    upload = _Upload(repository, location, size_bytes, open_content, progress)
    await retried(upload.send, repository.registry.settings.max_attempts, unreachable_too=True)
    await retried(lambda: upload.finish(digest), repository.registry.settings.max_attempts)
    return False


async def _start_upload(repository: Repository, digest: Digest, mount_from: str) -> str:
    """The URL of a fresh upload; empty if the blob was mounted."""
    target = repository.url("blobs/uploads/")
    scope: str | None = None
    if mount_from:
        target += "?" + urlencode({"mount": digest, "from": mount_from})
        scope = f"{repository.scope} repository:{mount_from}:pull"
    async with repository.request(
        "POST", target, headers={"Content-Length": "0"}, scope=scope, accept_status=_STARTED
    ) as response:
        if response.status == 201:
            return ""
        return _location(response)


class _Upload:
    """One upload session: its URL moves with every answer."""

    def __init__(
        self,
        repository: Repository,
        location: str,
        size_bytes: int,
        open_content: Callable[[], BinaryIO],
        progress: Progress | None,
    ) -> None:
        self._repository = repository
        self._location = location
        self._size_bytes = size_bytes
        self._open = open_content
        self._progress = progress
        self._offset = 0
        self._attempted = False

    async def send(self) -> None:
        """Bring the rest to the server in one request."""
        if self._attempted:
            await self._ask_offset()
        self._attempted = True
        start = self._offset
        if start >= self._size_bytes:
            return
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(self._size_bytes - start)}
        headers["Content-Range"] = f"{start}-{self._size_bytes - 1}"
        async with self._repository.request(
            "PATCH", self._location, headers=headers, body=lambda: self._chunks(start), accept_status=_UPLOAD_STATES
        ) as response:
            self._location = _location(response)
        self._offset = self._size_bytes

    async def _ask_offset(self) -> None:
        """After a broken PATCH: how much arrived (spec: "GET the upload's location")."""
        async with self._repository.request("GET", self._location, accept_status=_UPLOAD_STATES) as response:
            found = _RANGE.fullmatch(response.headers.get("Range", ""))
            # `0-0` stands for nothing and for one byte alike; starting over is right for both.
            self._offset = int(found[1]) + 1 if found and int(found[1]) > 0 else 0
            self._location = _location(response)
            if self._offset > self._size_bytes:
                raise Internal("registry claims more bytes of an upload than were sent")

    async def _chunks(self, start: int) -> AsyncIterator[bytes]:
        content = await asyncio.to_thread(self._open)
        try:
            content.seek(start)
            sent = start
            while chunk := await asyncio.to_thread(content.read, _UPLOAD_CHUNK_BYTES):
                yield chunk
                sent += len(chunk)
                if self._progress:
                    self._progress(sent)
        finally:
            content.close()

    async def finish(self, digest: Digest) -> None:
        """Close the upload; the server verifies the digest."""
        parts = urlsplit(self._location)
        query = f"{parts.query}&" if parts.query else ""
        target = urlunsplit(parts._replace(query=f"{query}digest={quote(digest, safe='')}"))
        try:
            async with self._repository.request(
                "PUT", target, headers={"Content-Length": "0"}, accept_status=_CREATED
            ) as response:
                stored = response.headers.get("Docker-Content-Digest", digest)
        except SampanError:
            # A PUT whose answer was lost has closed the upload; the blob tells.
            if await has_blob(self._repository, digest):
                return
            raise
        if stored != digest:
            raise Internal(f"registry stored {stored} instead of {digest}")


def _location(response: aiohttp.ClientResponse) -> str:
    location = response.headers.get("Location", "")
    if not location:
        raise Internal(f"registry answered {response.status} to an upload without a Location")
    return urljoin(str(response.url), location)

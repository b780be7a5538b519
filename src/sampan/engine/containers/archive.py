"""`cp`, `export` and `diff`: a container's files from outside, always through a worker confined to its root."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sampan import errors
from sampan.images.changes import changes as upper_changes

if TYPE_CHECKING:
    from sampan.engine.containers.model import Container
    from sampan.engine.tasks.tasks import Tasks

_PIPE_BYTES = 1 << 20


async def stat_path(tasks: Tasks, container: Container, path: str) -> dict[str, Any]:
    """Docker's path stat: name, size, mode (Go's FileMode), mtime, linkTarget.

    Raises:
        NotFound: no such path.
    """
    return await _run(tasks, container, "stat_path", {"path": path}, path, ())


@asynccontextmanager
async def archive(tasks: Tasks, container: Container, path: str) -> AsyncIterator[tuple[dict[str, Any], Pieces]]:
    """The stat of `path` and the pieces of its tar. Leaving the block early ends the worker.

    Raises:
        NotFound: no such path, before the block is entered.
    """
    found = await stat_path(tasks, container, path)

    def work(fd: int) -> Awaitable[dict[str, Any]]:
        return _run(tasks, container, "archive_get", {"path": path}, path, (fd,))

    async with _tar_from(work) as pieces:
        yield found, pieces


@asynccontextmanager
async def export(tasks: Tasks, container: Container) -> AsyncIterator[Pieces]:
    """The pieces of a tar of the whole root, without what is mounted into it."""
    target = container.in_rootfs_target()
    if target["kind"] != "process":
        target = {**container.rootfs(), "readonly": True}

    def work(fd: int) -> Awaitable[dict[str, Any]]:
        return tasks.in_rootfs(target, "export", {}, (fd,))

    async with _tar_from(work) as pieces:
        yield pieces


async def extract(
    tasks: Tasks,
    container: Container,
    path: str,
    chunks: AsyncIterator[bytes],
    *,
    no_overwrite_dir_non_dir: bool,
    copy_owner: bool,
) -> None:
    """Unpack a tar that the client sends below the directory `path`.

    Raises:
        NotFound: no such path.
        InvalidArgument: not a directory, read-only, or a bad archive.
    """
    read_end, write_end = _pipe()
    arguments = {
        "path": path,
        "no_overwrite_dir_non_dir": no_overwrite_dir_non_dir,
        "copy_uid_gid": copy_owner,
        "user": container.config.get("User") or "",
        "readonly_root": bool(container.host_config.get("ReadonlyRootfs")),
        "readonly_mounts": [mount.destination for mount in container.mounts if not mount.writable],
        "writable_mounts": [mount.destination for mount in container.mounts if mount.writable],
    }
    worker = asyncio.ensure_future(_run(tasks, container, "archive_put", arguments, path, (read_end,)))
    try:
        await asyncio.sleep(0)  # the worker's request has been sent: our copy of its end can go
        os.close(read_end)
        read_end = -1
        await _feed(write_end, chunks, worker)
        os.close(write_end)
        write_end = -1
        await worker
    finally:
        worker.cancel()
        for fd in (read_end, write_end):
            if fd >= 0:
                os.close(fd)


async def changes(container: Container) -> list[dict[str, Any]] | None:
    """Docker's diff: `[{"Path", "Kind"}]` with kinds 0 modified, 1 added, 2 deleted; None if there is none."""
    found = await asyncio.to_thread(upper_changes, container.upper, container.record.lower_dirs)
    return [{"Path": path, "Kind": int(kind)} for path, kind in found] or None


async def _run(
    tasks: Tasks, container: Container, operation: str, arguments: dict[str, Any], path: str, fds: tuple[int, ...]
) -> dict[str, Any]:
    try:
        return await tasks.in_rootfs(container.in_rootfs_target(), operation, arguments, fds)
    except errors.NotFound as error:
        raise errors.NotFound(f"Could not find the file {path} in container {container.name}") from error


class Pieces:
    """A worker's output as it comes, in pieces of at most 1 MiB; its error ends the iteration."""

    def __init__(self, fd: int, worker: asyncio.Future[dict[str, Any]]) -> None:
        self._fd = fd
        self._worker = worker

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await _read(self._fd):
            yield data
        await self._worker


@asynccontextmanager
async def _tar_from(work: Callable[[int], Awaitable[dict[str, Any]]]) -> AsyncIterator[Pieces]:
    read_end, write_end = _pipe()
    worker = asyncio.ensure_future(work(write_end))
    try:
        await asyncio.sleep(0)
        os.close(write_end)
        write_end = -1
        os.set_blocking(read_end, False)
        yield Pieces(read_end, worker)
    finally:
        worker.cancel()
        for fd in (read_end, write_end):
            if fd >= 0:
                os.close(fd)


def _pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # the user's pipe quota is used up: the default size is only slower
    return read_end, write_end


async def _read(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, _PIPE_BYTES)
        except BlockingIOError:
            await _ready(fd, write=False)


async def _feed(fd: int, chunks: AsyncIterator[bytes], worker: asyncio.Future[dict[str, Any]]) -> None:
    """Write the client's bytes; what comes after the worker has seen enough (or failed) is read and dropped."""
    os.set_blocking(fd, False)
    broken = False
    async for chunk in chunks:
        view = memoryview(chunk)
        while view and not broken:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                await _ready(fd, write=True)
            except BrokenPipeError:
                broken = True
        if worker.done() and worker.exception() is not None:
            return


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def mark() -> None:
        if not ready.done():
            ready.set_result(None)

    if write:
        loop.add_writer(fd, mark)
    else:
        loop.add_reader(fd, mark)
    try:
        await ready
    finally:
        if write:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)

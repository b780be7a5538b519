"""`docker build` and `docker builder prune`: one build from the client's request to its image.

    prepare()  the context is received and unpacked, the Dockerfile parsed: faults here are HTTP errors
    run()      the plan is made and worked on, messages stream to the client: faults here are messages
    close()    what the build had on disk is gone

The cache keeps layers alive that no image needs; `prune` gives them back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from sampan.build import context as contexts
from sampan.build.classic import ClassicBuild, ClassicReport, Send
from sampan.build.executor import Executor
from sampan.build.image import StageImage
from sampan.build.inputs import Inputs
from sampan.build.options import BuildOptions
from sampan.build.plan import Plan, make_plan, target_stage
from sampan.build.run_mounts import RunMounts
from sampan.build.solver import Session, Solver
from sampan.build.unpack import is_archive
from sampan.engine.builds.base_images import BuildImages
from sampan.engine.builds.downloads import HttpFetcher
from sampan.engine.builds.run_steps import TaskRunner
from sampan.engine.config import EngineConfig
from sampan.engine.images import ImageService
from sampan.engine.tasks.tasks import Tasks
from sampan.errors import Internal, InvalidArgument, NotSupported, SampanError
from sampan.network.controller import Networks
from sampan.spec.dockerfile.parser import parse
from sampan.spec.dockerfile.stages import Dockerfile, build_stages
from sampan.store.build_cache import BuildCache
from sampan.store.database import Database
from sampan.tar.reader import Readable
from sampan.types.ids import new_id
from sampan.types.platform import Platform
from sampan.types.reference import Reference
from sampan.types.times import parse_until_ns, rfc3339

_log = logging.getLogger(__name__)
_CONTEXT_THREADS = 16
_WORK_THREADS = 4
_CLOSE_TIMEOUT_S = 10.0


class PreparedBuild:
    """A build that is ready to run. `directory` is its own place on disk."""

    def __init__(self, directory: str, options: BuildOptions, tags: list[Reference]) -> None:
        self.directory = directory
        self.options = options
        self.tags = tags
        self.file: Dockerfile | None = None

    @property
    def context(self) -> str:
        return os.path.join(self.directory, "context")


Receive = Callable[[PreparedBuild], Awaitable[bytes]]
ShownBy = Callable[[Plan, Session, BuildCache, ClassicReport, BuildOptions, bool], ClassicBuild]


class Builder:
    """One per engine."""

    def __init__(
        self, config: EngineConfig, database: Database, images: ImageService, tasks: Tasks, networks: Networks
    ) -> None:
        self._images = images
        self._layers = images.store.layers
        root = os.path.join(config.data_root, "build-cache")
        self._work_root = os.path.join(root, "work")
        self._contexts_root = os.path.join(root, "contexts")
        for directory in (root, self._work_root, self._contexts_root):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        self.cache = BuildCache(database)
        self._pool = ThreadPoolExecutor(_WORK_THREADS, "build")
        self._context_pool = ThreadPoolExecutor(_CONTEXT_THREADS, "context")
        self._fetcher = HttpFetcher()
        self._mounts = RunMounts(os.path.join(root, "mounts"), os.path.join(config.exec_root, "build-secrets"))
        runner = TaskRunner(config, tasks, networks, self._layers.stubs)
        executor = Executor(self._layers, self._work_root, runner, self._mounts, self._pool)
        self._solver = Solver(self.cache, self._layers, executor)
        self._prepared: dict[PreparedBuild, asyncio.Task[Any] | None] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        images.store.add_layer_user(self._cached_layers)

    def clean(self) -> None:
        """At start-up: what builds that were under way when the last engine died had on disk."""
        for root in (self._work_root, self._contexts_root, self._mounts.secrets_root):
            for name in os.listdir(root) if os.path.isdir(root) else ():
                path = os.path.join(root, name)
                if os.path.isdir(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    os.unlink(path)

    async def close(self) -> None:
        """Cancel the builds under way, wait until they have cleaned up, stop the threads."""
        for build in self._prepared.values():
            if build is not None and build is not asyncio.current_task():
                build.cancel()
        try:
            await asyncio.wait_for(self._idle.wait(), _CLOSE_TIMEOUT_S)
        except TimeoutError:
            _log.warning("builds did not end in time; the next start cleans up after them")
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._context_pool.shutdown(wait=False, cancel_futures=True)

    # --- a build

    async def prepare(self, options: BuildOptions, body: Readable | None) -> PreparedBuild:
        """Receive the context from `body` or from `options.remote`, and read the Dockerfile.

        Raises:
            InvalidArgument, Internal: in Docker's words; nothing is left behind.
        """
        return await self.prepare_with(options, lambda prepared: self._receive(prepared, body))

    async def prepare_with(self, options: BuildOptions, receive: Receive) -> PreparedBuild:
        """As `prepare`, where `receive` puts the context into its place and gives the Dockerfile's content."""
        if options.squash:
            raise InvalidArgument("squash is only supported with experimental mode")
        if options.platform:
            Platform.parse(options.platform)
        tags = [_tag(name) for name in options.tags if name]
        prepared = PreparedBuild(os.path.join(self._contexts_root, new_id()), options, tags)
        self._prepared[prepared] = asyncio.current_task()
        self._idle.clear()
        try:
            for directory in (prepared.directory, prepared.context, f"{prepared.directory}/downloads"):
                os.mkdir(directory, 0o700)
            content = await receive(prepared)
            prepared.file = build_stages(parse(content))
            target_stage(prepared.file, options.target)
            return prepared
        except BaseException:
            await self.discard(prepared)
            raise

    async def _receive(self, prepared: PreparedBuild, body: Readable | None) -> bytes:
        options = prepared.options
        if options.remote:
            remote = await self._receive_remote(prepared)
            if remote is not None:
                return contexts.require_content(remote, "Dockerfile")
        elif body is not None:
            await self._blocking(contexts.unpack_context, body, prepared.context)
        content = contexts.read_dockerfile(prepared.context, options.dockerfile)
        await self._blocking(contexts.apply_ignore, prepared.context, options.dockerfile)
        return content

    async def _receive_remote(self, prepared: PreparedBuild) -> bytes | None:
        """A context from a URL: an archive is unpacked, anything else is the Dockerfile itself."""
        url = prepared.options.remote
        if url == "client-session" or not url.lower().startswith(("http://", "https://")) or url.endswith(".git"):
            raise NotSupported(f"unable to prepare context: a build from {url} is not supported")
        download = await self._fetcher.fetch(url, f"{prepared.directory}/downloads")
        if is_archive(download.path):
            with open(download.path, "rb") as file:
                await self._blocking(contexts.unpack_context, file, prepared.context)
            return None
        with open(download.path, "rb") as file:
            return file.read(4 << 20)

    async def _blocking(self, work: Any, *arguments: Any) -> Any:
        """Run in a thread, to its end even if cancelled: it writes into a directory that is about to go."""
        future = asyncio.get_running_loop().run_in_executor(self._context_pool, work, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def discard(self, prepared: PreparedBuild) -> None:
        """Remove what the build had on disk."""
        self._prepared[prepared] = None  # past cancelling
        future = asyncio.get_running_loop().run_in_executor(
            self._context_pool, lambda: shutil.rmtree(prepared.directory, ignore_errors=True)
        )
        future.add_done_callback(lambda _: self._forget(prepared))
        await asyncio.shield(future)

    def _forget(self, prepared: PreparedBuild) -> None:
        self._prepared.pop(prepared, None)
        if not self._prepared:
            self._idle.set()

    async def run(self, prepared: PreparedBuild, send: Send) -> str | None:
        """Build, streaming Docker's messages to `send`; gives the image's id, None if the build failed (the stream says
        why). When cancelled, everything under way is stopped first."""
        report = ClassicReport(send, prepared.options)
        try:
            return await self._run(prepared, report)
        except SampanError as error:
            await report.error(error)
        except ConnectionError:
            raise  # the client is gone: nobody to tell
        except OSError as error:
            await report.error(Internal(f"build failed: {error.strerror or error}"))
        except Exception as error:
            _log.exception("build failed")
            await report.error(Internal(f"build failed: {error!r}"))
        return None

    async def _run(self, prepared: PreparedBuild, report: ClassicReport) -> str:
        image_id, plan = await self.solve(prepared, report, ClassicBuild)
        await report.built(image_id, [tag.familiar() for tag in prepared.tags], plan.unconsumed)
        return image_id

    async def solve(self, prepared: PreparedBuild, report: ClassicReport, shown_by: ShownBy) -> tuple[str, Plan]:
        """Plan and work; gives the id of the image, which is recorded and tagged. Raises what a step failed with."""
        assert prepared.file is not None
        options = prepared.options
        use_cache = not options.no_cache and self._cache_wanted(options.cache_from)
        with ExitStack() as leases:
            images = BuildImages(self._images, options, report, leases)
            plan = await make_plan(prepared.file, options, images.resolve, report)
            inputs = Inputs(
                self._layers,
                self._pool,
                self._fetcher,
                prepared.context,
                f"{prepared.directory}/downloads",
                options.secrets,
            )
            async with Session(self._solver, inputs, use_cache=use_cache, quiet=False) as session:
                shown = shown_by(plan, session, self.cache, report, options, use_cache)
                image = await _first_failure(shown.run(), session.solve(plan.target.node))
                return self._record(image, prepared.tags), plan

    def _cache_wanted(self, cache_from: list[str]) -> bool:
        """As dockerd: images to take the cache from, none of which is here, mean no cache."""
        return not cache_from or any(self._images.store.find(name) is not None for name in cache_from)

    def _record(self, image: StageImage, tags: list[Reference]) -> str:
        store = self._images.store
        if image.unchanged and image.base is not None:
            recorded = store.get(image.base.image_id)
        else:
            recorded = store.add(image.document())
        for tag in tags:
            store.tag(recorded, tag)
        return recorded.id

    # --- the cache

    def _cached_layers(self) -> Iterable[str]:
        return self.cache.layers()

    def disk_usage(self) -> list[dict[str, Any]]:
        """The `BuildCache` of `GET /system/df`."""
        used = {str(chain_id) for image in self._images.store.list(all_images=True) for chain_id in image.chain_ids}
        return [
            _record(entry, shared=bool(entry.changed and entry.layers[-1][0] in used)) for entry in self.cache.list()
        ]

    async def prune(
        self, filters: dict[str, list[str]], *, all_entries: bool = False, keep_bytes: int = 0
    ) -> dict[str, Any]:
        """`POST /build/prune`: forget cached steps, the longest unused first, and free the layers that only they held."""
        until_ns = _until_ns(filters)
        wanted_ids = filters.get("id", [])
        entries = self.cache.list()
        total = sum(size_bytes(entry) for entry in entries)
        deleted: list[str] = []
        for entry in entries:
            if total <= keep_bytes and keep_bytes:
                break
            if entry.used_ns > until_ns or (wanted_ids and entry.key not in wanted_ids):
                continue
            self.cache.delete(entry.key)
            deleted.append(entry.key)
            total -= size_bytes(entry)
        if not self.cache.list():
            self.cache.clear_steps()
            await self._blocking(shutil.rmtree, self._mounts.cache_root, True)
        sizes = {layer[0]: layer[2] for entry in entries for layer in entry.layers}
        gone = self._images.store.collect(list(sizes)) if sizes else []
        return {"CachesDeleted": deleted or None, "SpaceReclaimed": sum(sizes.get(chain_id, 0) for chain_id in gone)}


async def _first_failure(shown: Awaitable[StageImage], work: Awaitable[Any]) -> StageImage:
    """Run both; a failure of the work gives the report a moment to show it in its place, then ends the build."""
    report, solving = asyncio.ensure_future(shown), asyncio.ensure_future(work)
    try:
        await asyncio.wait([report, solving], return_when=asyncio.FIRST_EXCEPTION)
        if not report.done():
            await asyncio.wait([report], timeout=0.5)
        if report.done():
            return report.result()
        solving.result()
        return await report
    finally:
        for task in (report, solving):
            task.cancel()
        await asyncio.gather(report, solving, return_exceptions=True)


def _tag(name: str) -> Reference:
    try:
        reference = Reference.parse(name)
    except SampanError as error:
        raise Internal(error.message) from None
    if reference.digest:
        raise Internal("build tag cannot contain a digest")
    return reference.with_default_tag()


def size_bytes(entry: Any) -> int:
    """What an entry of the cache holds itself, without what it builds on."""
    return int(entry.layers[-1][2]) if entry.changed and entry.layers else 0


def _record(entry: Any, *, shared: bool) -> dict[str, Any]:
    return {
        "ID": entry.key,
        "Parents": [entry.parent] if entry.parent else None,
        "Type": "regular",
        "Description": entry.description,
        "InUse": False,
        "Shared": shared,
        "Size": size_bytes(entry),
        "CreatedAt": rfc3339(entry.created_ns),
        "LastUsedAt": rfc3339(entry.used_ns) if entry.uses else None,
        "UsageCount": entry.uses,
    }


def _until_ns(filters: dict[str, list[str]]) -> int:
    """`until=24h` or a time stamp: only what was last used before it."""
    values = filters.get("until") or filters.get("unused-for") or []
    if not values:
        return time.time_ns()
    try:
        return parse_until_ns(values[0], time.time_ns())
    except ValueError:
        raise InvalidArgument(f"invalid filter 'until=[{values[0]}]'") from None

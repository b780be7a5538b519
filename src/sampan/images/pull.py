"""From a registry into the stores: resolve, choose the platform, fetch, verify and unpack all layers at once.

A layer's bytes take one way: socket → blob file (hashed) → inflate → unpack, the last two in threads of their own that read
the blob's file while it still grows. So a pull takes as long as the slowest of download, hash and unpack, and holds a few
megabytes whatever the layers' size. An image appears when all its layers are verified: blobs by their digest, layers by
their diff id, the config by the manifest, the manifest by the digest or tag that was asked for.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from sampan.content.blobs import BlobStore, BlobWriter
from sampan.content.layers import LayerStore
from sampan.errors import InvalidArgument, NotSupported
from sampan.images.growing import Abandoned, GrowingFile
from sampan.images.progress import Progress
from sampan.linux.overlay import MAXIMUM_LAYERS
from sampan.registry.auth import ANONYMOUS, Credentials
from sampan.registry.blobs import fetch_blob
from sampan.registry.client import Registry, Repository
from sampan.registry.manifests import (
    Descriptor,
    Manifest,
    fetch_manifest,
    fetch_small_blob,
    require_image,
    resolve_platform,
)
from sampan.types.digest import Digest, chain_ids
from sampan.types.ids import short
from sampan.types.platform import Platform
from sampan.types.reference import Reference

_EXTRACT_THREADS = 6
_TICK_S = 0.1


class Pulled(NamedTuple):
    """What a pull brought. `resolved` is what the tag names (an index, if it is one), `manifest` the chosen image."""

    resolved: Manifest
    manifest: Manifest
    config: bytes
    fetched_layers: int


class Puller:
    """Fetches images into an engine's stores; pulls under way at the same time share their layers."""

    def __init__(self, registry: Registry, blobs: BlobStore, layers: LayerStore) -> None:
        self._registry = registry
        self._blobs = blobs
        self._layers = layers
        self._downloads = asyncio.Semaphore(max(1, registry.settings.max_concurrent_downloads))
        self._extractors = ThreadPoolExecutor(_EXTRACT_THREADS, "extract")
        self._busy: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def close(self) -> None:
        self._extractors.shutdown(wait=False, cancel_futures=True)

    async def pull(
        self,
        reference: Reference,
        credentials: Credentials,
        platform: Platform | None,
        progress: Progress,
        is_known: Callable[[str], bool] = lambda image_id: False,
    ) -> Pulled:
        """Bring one image's content here; of an image that `is_known` (by its id) only the manifest is fetched again.

        The caller records the image before it lets go of the event loop: until then nothing else holds the layers.

        Raises:
            NotFound: no such repository, tag or platform. Unauthorized. InvalidArgument: a damaged or hostile image.
        """
        repository = self._registry.repository(reference, credentials)
        resolved = await fetch_manifest(repository, reference)
        progress.status(
            f"Pulling from {familiar_path(reference)}",
            reference.familiar() if reference.digest else reference.tag or "",
        )
        manifest = await resolve_platform(repository, resolved, platform)
        descriptor = require_image(manifest)
        config = await fetch_small_blob(repository, descriptor)
        diff_ids = _diff_ids(config, manifest)
        fetched = 0
        if not is_known(descriptor.digest):
            fetched = await self._fetch_layers(repository, manifest.layers, diff_ids, progress)
        for content, digest in {(item.content, item.digest) for item in (manifest, resolved)}:
            self._blobs.put(content, digest)
        self._blobs.put(config, descriptor.digest)
        progress.status(f"Digest: {resolved.digest}")
        return Pulled(resolved, manifest, config, fetched)

    async def _fetch_layers(
        self, repository: Repository, layers: list[Descriptor], diff_ids: list[Digest], progress: Progress
    ) -> int:
        chain = chain_ids([str(diff_id) for diff_id in diff_ids])
        jobs = []
        parent: Digest | None = None
        with self._layers.lease(chain):
            for descriptor, diff_id, chain_id in zip(layers, diff_ids, chain, strict=True):
                if self._layers.has(chain_id):
                    progress.step("Already exists", short(descriptor.digest))
                else:
                    progress.step("Pulling fs layer", short(descriptor.digest))
                    job = _LayerJob(self, repository, descriptor, diff_id, chain_id, parent, progress)
                    jobs.append(job)
                parent = chain_id
            try:
                async with asyncio.TaskGroup() as group:
                    for job in jobs:
                        group.create_task(job.run())
            except BaseExceptionGroup as failures:
                raise _first_cause(failures) from None
        return len(jobs)

    def lock_for(self, key: str) -> asyncio.Lock:
        """One lock per layer or blob under way, shared by all pulls, dropped when nobody holds it."""
        lock = self._busy.get(key)
        if lock is None:
            lock = self._busy[key] = asyncio.Lock()
        return lock


class _LayerJob:
    """One layer's way from the registry to its directory."""

    def __init__(
        self,
        puller: Puller,
        repository: Repository,
        descriptor: Descriptor,
        diff_id: Digest,
        chain_id: Digest,
        parent: Digest | None,
        progress: Progress,
    ) -> None:
        self._puller = puller
        self._repository = repository
        self._descriptor = descriptor
        self._digest = Digest.parse(descriptor.digest)
        self._diff_id = diff_id
        self._chain_id = chain_id
        self._parent = parent
        self._progress = progress
        self._short = short(descriptor.digest)

    async def run(self) -> None:
        async with self._puller.lock_for(self._digest):  # two layers of an image may be one blob
            if self._puller._layers.has(self._chain_id):
                self._progress.step("Already exists", self._short)
                return
            async with self._puller._downloads:
                if self._puller._blobs.has(self._digest):
                    await self._extract_stored()
                else:
                    await self._download_and_extract()
        self._progress.step("Pull complete", self._short)

    async def _extract_stored(self) -> None:
        path, size_bytes = self._puller._blobs.path(self._digest), self._puller._blobs.size(self._digest)
        self._progress.step("Download complete", self._short)
        source = GrowingFile(path, size_bytes, size_bytes)
        await self._extract(source, size_bytes)

    async def _download_and_extract(self) -> None:
        size_bytes = self._descriptor.size
        writer = await asyncio.to_thread(self._puller._blobs.begin, self._digest, size_bytes)
        try:
            source = GrowingFile(writer.partial_path, size_bytes, writer.offset)
            extracting = asyncio.ensure_future(self._extract(source, size_bytes))
            try:
                await self._download(writer, source)
                await extracting
            except BaseException:
                source.abandon()
                await asyncio.wait([extracting])
                if not extracting.cancelled():
                    extracting.exception()
                raise
        finally:
            writer.suspend()

    async def _download(self, writer: BlobWriter, source: GrowingFile) -> None:
        size_bytes = self._descriptor.size
        sink = _Announcing(writer, source)

        def show(received: int) -> None:
            self._progress.bar("Downloading", self._short, received, size_bytes)

        def retry(delay_s: float) -> None:
            self._progress.step(f"Retrying in {max(1, round(delay_s))} second", self._short)

        await fetch_blob(self._repository, self._digest, size_bytes, sink, show, retry)
        self._progress.step("Verifying Checksum", self._short)
        await asyncio.to_thread(writer.commit)
        self._progress.step("Download complete", self._short)

    async def _extract(self, source: GrowingFile, size_bytes: int) -> None:
        """Unpack in a thread; the bar follows how much of the blob it has read."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._puller._extractors, self._unpack, source)
        while True:
            done, _ = await asyncio.wait([work], timeout=_TICK_S)
            if done:
                return work.result()
            if self._puller._blobs.has(self._digest):  # until then the download's bar is shown
                self._progress.bar("Extracting", self._short, source.position, size_bytes)

    def _unpack(self, source: GrowingFile) -> None:
        try:
            self._puller._layers.extract(
                self._chain_id,
                self._diff_id,
                source,
                parent=self._parent,
                blob=self._digest,
                media_type=self._descriptor.media_type,
            )
        finally:
            source.close()


class _Announcing:
    """The blob's writer, which also tells the reader of the growing file."""

    def __init__(self, writer: BlobWriter, source: GrowingFile) -> None:
        self._writer = writer
        self._source = source

    @property
    def offset(self) -> int:
        return self._writer.offset

    def write(self, data: bytes) -> None:
        self._writer.write(data)
        self._source.advance(self._writer.offset)


def familiar_path(reference: Reference) -> str:
    """What `Pulling from` shows: the path without the domain, in full."""
    return reference.path


def _diff_ids(config: bytes, manifest: Manifest) -> list[Digest]:
    """The diff ids of a config, as many as the manifest has layers.

    Raises:
        InvalidArgument: they differ, or it is no config. NotSupported: foreign layers, too many layers.
    """
    try:
        found: Any = msgspec.json.decode(config)["rootfs"]["diff_ids"]
        diff_ids = [Digest.parse(item) for item in found or []]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise InvalidArgument(f"invalid image config in manifest {manifest.digest}: no rootfs.diff_ids") from None
    if len(diff_ids) != len(manifest.layers):
        raise InvalidArgument(
            f"invalid image {manifest.digest}: {len(manifest.layers)} layers, but {len(diff_ids)} diff ids in the config"
        )
    if len(diff_ids) > MAXIMUM_LAYERS:
        raise NotSupported(f"max depth exceeded: {len(diff_ids)} layers, at most {MAXIMUM_LAYERS} can be mounted")
    for layer in manifest.layers:
        if "foreign" in layer.media_type or "nondistributable" in layer.media_type or "encrypted" in layer.media_type:
            raise NotSupported(f"layer {layer.digest} of type {layer.media_type} is not supported")
    return diff_ids


def _first_cause(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of a group that says most: not the echo of another one's."""
    causes = [cause for cause in failures.exceptions if not isinstance(cause, (Abandoned, asyncio.CancelledError))]
    return causes[0] if causes else failures.exceptions[0]


__all__ = ["ANONYMOUS", "Pulled", "Puller", "familiar_path"]

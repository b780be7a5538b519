"""From the stores to a registry: what the registry has is skipped, what it has elsewhere is mounted, the rest is uploaded.

An image that was pulled goes out with the manifest and the blobs that it came with, bit for bit. A layer that was made here
is compressed once; the result is kept beside the layer, so the next push, and that of any image on top of it, finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from sampan.content.blobs import BlobStore
from sampan.content.compression import compress_gzip
from sampan.content.layers import LayerStore
from sampan.images.image import Image
from sampan.images.progress import Progress
from sampan.registry.auth import Credentials
from sampan.registry.blobs import has_blob, push_blob
from sampan.registry.client import Registry, Repository
from sampan.registry.manifests import DOCKER_MANIFEST, OCI_MANIFEST, Descriptor, parse_manifest
from sampan.registry.push_manifests import put_manifest
from sampan.types.digest import Digest, sha256_of
from sampan.types.ids import short
from sampan.types.reference import Reference

_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+"
_GZIP_LAYERS = frozenset((_DOCKER_LAYER, _OCI_LAYER + "gzip"))


class Pushed(NamedTuple):
    """The manifest that the registry has now."""

    digest: Digest
    content: bytes


class Pusher:
    """Sends images of an engine's stores to registries."""

    def __init__(self, registry: Registry, blobs: BlobStore, layers: LayerStore) -> None:
        self._registry = registry
        self._blobs = blobs
        self._layers = layers
        self._uploads = asyncio.Semaphore(max(1, registry.settings.max_concurrent_uploads))
        self._compressions = asyncio.Semaphore(2)

    async def push(self, image: Image, reference: Reference, credentials: Credentials, progress: Progress) -> Pushed:
        """Upload `image` as the tag of `reference`. The caller holds a lease on the image.

        Raises:
            Unauthorized, Forbidden, Internal: the registry refuses, or does not answer.
        """
        repository = self._registry.repository(reference, credentials, push=True)
        for diff_id in image.diff_ids:
            progress.step("Preparing", short(diff_id))
        mount_from = _mountable(image, reference)
        ready = self._as_it_came(image)
        try:
            async with asyncio.TaskGroup() as group:
                jobs = [
                    group.create_task(
                        self._push_layer(
                            repository, image, number, ready[number] if ready else None, mount_from, progress
                        )
                    )
                    for number in range(len(image.diff_ids))
                ]
                group.create_task(self._push_config(repository, image))
        except BaseExceptionGroup as failures:
            raise next(
                (cause for cause in failures.exceptions if not isinstance(cause, asyncio.CancelledError)),
                failures.exceptions[0],
            ) from None
        if ready and image.manifest_bytes:
            content = image.manifest_bytes
        else:
            content = _manifest_of(image, [job.result() for job in jobs])
        digest = sha256_of(content)
        media_type = parse_manifest(content, digest).media_type
        await put_manifest(repository, reference.tag or str(digest), media_type, content, digest)
        progress.status(f"{reference.tag}: digest: {digest} size: {len(content)}")
        progress.send(
            {"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": str(digest), "Size": len(content)}}
        )
        return Pushed(digest, content)

    def _as_it_came(self, image: Image) -> list[Descriptor] | None:
        """The layers of the image's own manifest, if all of their blobs are still here."""
        if not image.manifest_bytes:
            return None
        manifest = parse_manifest(image.manifest_bytes, sha256_of(image.manifest_bytes))
        if len(manifest.layers) != len(image.diff_ids) or manifest.config is None or manifest.config.digest != image.id:
            return None
        return manifest.layers if all(self._blobs.has(layer.digest) for layer in manifest.layers) else None

    async def _push_config(self, repository: Repository, image: Image) -> None:
        digest = Digest.parse(image.id)
        if await has_blob(repository, digest):
            return
        path = self._blobs.path(self._blobs.put(image.config_bytes, digest))
        await push_blob(repository, digest, len(image.config_bytes), lambda: open(path, "rb"))

    async def _push_layer(
        self,
        repository: Repository,
        image: Image,
        number: int,
        ready: Descriptor | None,
        mount_from: Sequence[str],
        progress: Progress,
    ) -> Descriptor:
        name = short(image.diff_ids[number])
        async with self._uploads:
            descriptor = ready or await self._compressed(str(image.chain_ids[number]), name, progress)
            digest = Digest.parse(descriptor.digest)
            if await has_blob(repository, digest):
                progress.step("Layer already exists", name)
                return descriptor

            def show(sent: int) -> None:
                progress.bar("Pushing", name, sent, descriptor.size)

            mounted = await push_blob(
                repository,
                digest,
                descriptor.size,
                lambda: self._blobs.open(digest),
                mount_from=mount_from[0] if mount_from else "",
                progress=show,
            )
        progress.step(f"Mounted from {mount_from[0]}" if mounted else "Pushed", name)
        return descriptor

    async def _compressed(self, chain_id: str, name: str, progress: Progress) -> Descriptor:
        """The layer as a blob, which is made if it is not here."""
        info = self._layers.info(chain_id)
        if info.blob and self._blobs.has(info.blob):
            return Descriptor(info.media_type or _DOCKER_LAYER, info.blob, self._blobs.size(info.blob))
        async with self._compressions:
            progress.bar("Preparing", name, 0, info.size_bytes)
            return await asyncio.to_thread(self._compress, chain_id)

    def _compress(self, chain_id: str) -> Descriptor:
        source = self._layers.open_tar(chain_id)
        try:
            with self._blobs.begin() as writer:
                compress_gzip(source, writer)
                digest = writer.commit()
        finally:
            source.close()
        self._layers.record_blob(chain_id, digest, _DOCKER_LAYER)
        return Descriptor(_DOCKER_LAYER, str(digest), self._blobs.size(digest))


def _mountable(image: Image, reference: Reference) -> list[str]:
    """Repositories of the same registry that this image is in, or came from."""
    paths = [known.path for known in image.references if known.domain == reference.domain and known.digest]
    return [path for path in dict.fromkeys(paths) if path != reference.path]


def _manifest_of(image: Image, layers: Sequence[Descriptor]) -> bytes:
    """A new manifest: Docker's form, which every client reads, unless a layer has a type that it does not know."""
    docker = all(layer.media_type in _GZIP_LAYERS for layer in layers)
    config = Descriptor(_DOCKER_CONFIG if docker else _OCI_CONFIG, image.id, len(image.config_bytes))
    if docker:
        layers = [msgspec.structs.replace(layer, media_type=_DOCKER_LAYER) for layer in layers]
    else:
        layers = [msgspec.structs.replace(layer, media_type=_oci_type(layer.media_type)) for layer in layers]
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": config,
        "layers": layers,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=3)


def _oci_type(media_type: str) -> str:
    if media_type.startswith(_OCI_LAYER[:-1]):
        return media_type
    if "zstd" in media_type:
        return _OCI_LAYER + "zstd"
    return _OCI_LAYER + "gzip" if "gzip" in media_type else _OCI_LAYER[:-1]

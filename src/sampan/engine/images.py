"""What one can do with images: the use cases behind `/images`, `/distribution` and `/auth`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from sampan.content.layers import TarStream
from sampan.engine.image_shapes import Version, inspect, summary
from sampan.errors import InvalidArgument, NotFound, SampanError
from sampan.images.apt_sources import find as find_release
from sampan.images.commit import import_image
from sampan.images.deletion import InUse
from sampan.images.image import Image
from sampan.images.progress import Progress, error_message
from sampan.images.pull import Puller
from sampan.images.push import Pusher
from sampan.images.store import ImageStore
from sampan.registry.auth import ANONYMOUS, Credentials
from sampan.registry.client import Registry
from sampan.registry.manifests import fetch_manifest, fetch_small_blob
from sampan.registry.search import search
from sampan.registry.tags import list_tags
from sampan.spec.filters import boolean
from sampan.tar.reader import Readable
from sampan.types.platform import Platform
from sampan.types.reference import DEFAULT_DOMAIN, Reference

_HUB_NAMES = frozenset(("", "docker.io", "index.docker.io", "registry-1.docker.io"))


def _nobody(image_id: str) -> list[tuple[str, bool]]:
    return []


class ImageService:
    """Images of one engine. `in_use` tells which containers an image has (see `images.deletion`); the engine sets it."""

    def __init__(self, store: ImageStore, registry: Registry, in_use: InUse = _nobody) -> None:
        self.store = store
        self.registry = registry
        self.in_use = in_use
        self._puller = Puller(registry, store.blobs, store.layers)
        self._pusher = Pusher(registry, store.blobs, store.layers)

    @property
    def scratch(self) -> str:
        """A directory on the store's file system; what a killed engine left in it goes at the next start."""
        return os.path.join(self.store.layers.root, "tmp")

    async def close(self) -> None:
        """Stop transfers' threads and drop the connections to registries."""
        self._puller.close()
        await self.registry.close()

    # --- questions

    def summaries(
        self,
        filters: Mapping[str, Sequence[str]],
        version: Version,
        *,
        all_images: bool = False,
        shared_size: bool = False,
    ) -> list[dict[str, Any]]:
        """The body of `GET /images/json`."""
        images = self.store.list(filters, all_images=all_images)
        users = self._layer_users() if shared_size else {}
        return [
            summary(image, version, shared_size_bytes=self._shared_size(image, users) if shared_size else -1)
            for image in images
        ]

    def disk_usage(self, version: Version = (1, 56)) -> list[dict[str, Any]]:
        """Images as `GET /system/df` shows them: with what they share and how many containers they have."""
        users = self._layer_users()
        return [
            summary(
                image,
                version,
                shared_size_bytes=self._shared_size(image, users),
                containers=sum(1 for _ in self.in_use(image.id)),
            )
            for image in self.store.list(all_images=False)
        ]

    def layers_size(self) -> int:
        """What the layers of all images take, in bytes; each counts once."""
        return sum(self.store.layers.info(chain_id).size_bytes for chain_id in self._layer_users())

    def _layer_users(self) -> dict[str, int]:
        users: dict[str, int] = {}
        for image in self.store.list(all_images=True):
            for chain_id in set(image.chain_ids):
                users[chain_id] = users.get(chain_id, 0) + 1
        return users

    def _shared_size(self, image: Image, users: Mapping[str, int]) -> int:
        return sum(
            self.store.layers.info(chain_id).size_bytes for chain_id in image.chain_ids if users.get(chain_id, 0) > 1
        )

    def inspect(self, name: str, version: Version, platform: Platform | None = None) -> dict[str, Any]:
        """The body of `GET /images/{name}/json`. Raises NotFound."""
        return inspect(self.store, self._get(name, platform), version)

    def history(self, name: str, platform: Platform | None = None) -> list[dict[str, Any]]:
        """The body of `GET /images/{name}/history`. Raises NotFound."""
        return self.store.history(self._get(name, platform))

    def _get(self, name: str, platform: Platform | None) -> Image:
        """The image of a name, which must be for `platform`."""
        image = self.store.get(name)
        _check_platform(image, name, platform)
        return image

    # --- changes

    def tag(self, name: str, repository: str, tag: str) -> None:
        """Give an image one more name; an empty `repository` changes nothing, as in Docker."""
        image = self.store.get(name)
        if repository:
            self.store.tag(image, named(repository, tag))

    def delete(self, name: str, *, force: bool, prune_parents: bool) -> list[dict[str, str]]:
        """`docker rmi`. Raises NotFound, Conflict."""
        return self.store.delete(name, force=force, prune=prune_parents, in_use=self.in_use)

    def prune(self, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The body of `POST /images/prune`."""
        dangling_only = boolean(filters, "dangling") is not False
        records, freed_bytes = self.store.prune(filters, self.in_use, dangling_only=dangling_only)
        return {"ImagesDeleted": records or None, "SpaceReclaimed": freed_bytes}

    # --- archives

    async def import_tar(
        self,
        archive: Readable,
        repository: str,
        tag: str,
        *,
        platform: Platform | None,
        changes: Sequence[str],
        message: str,
        progress: Progress,
    ) -> None:
        """`docker import`: one layer out of any tar, which a thread reads; the last message is the image's id."""
        reference = named(repository, tag).with_default_tag() if repository else None
        image = await import_image(
            self.store, archive, changes=changes, message=message, platform=platform, reference=reference
        )
        self.store.event("import", image, reference.familiar() if reference else "")
        progress.send({"status": image.id})

    async def save(self, names: Sequence[str], platforms: Sequence[Platform]) -> TarStream:
        """The archive of `docker save`, to be read in a thread and closed. Raises NotFound."""
        from sampan.images import archive

        saved = [self.store.get(name) for name in names]
        for (image, name), platform in product(zip(saved, names, strict=True), platforms):
            _check_platform(image, name, platform)
        stream = archive.save(self.store, names)
        for image in saved:
            self.store.event("save", image)
        return stream

    async def load(self, source: Readable, *, quiet: bool, progress: Progress) -> None:
        """`docker load`: the archive is read in a thread."""
        from sampan.images import archive

        await archive.load(self.store, source, quiet=quiet, progress=progress)

    async def bootstrap(self, name: str, progress: Progress) -> None:
        """A base image from a distribution's packages. Raises InvalidArgument for a name that we have no recipe for."""
        from sampan.images import bootstrap

        await bootstrap.bootstrap(self.store, name, progress)

    # --- registries

    async def pull(
        self, name: str, tag: str, platform: Platform | None, credentials: Credentials, progress: Progress
    ) -> Image:
        """`docker pull`: one tag or digest, or all tags of a repository that is named alone; gives the (last) image."""
        reference = named(name, tag)
        if reference.tag or reference.digest:
            return await self._pull_one(reference, platform, credentials, progress, reference.familiar())
        tags = await list_tags(self.registry.repository(reference, credentials))
        if not tags:
            raise NotFound(f"manifest for {reference.familiar()} not found: the repository has no tags")
        newer = False
        for each in tags:
            tagged = reference.with_tag(each)
            before = self.store.find(tagged.canonical())
            image = await self._pull_one(tagged, platform, credentials, progress, "")
            newer = newer or before is None or before.id != image.id
        progress.status(_pulled(reference.familiar(), newer=newer))
        return image

    async def _pull_one(
        self,
        reference: Reference,
        platform: Platform | None,
        credentials: Credentials,
        progress: Progress,
        shown: str,
    ) -> Image:
        before = self.store.find(reference.canonical())
        try:
            pulled = await self._puller.pull(
                reference, credentials, platform, progress, lambda image_id: self.store.find(image_id) is not None
            )
        except SampanError as error:
            error.hint = error.hint or _without_registry(reference)
            raise
        names = [reference.with_digest(pulled.resolved.digest)]
        if reference.tag and not reference.digest:
            names.insert(0, reference)
        image = self.store.add(pulled.config, pulled.manifest.content, names)
        if shown:
            progress.status(_pulled(shown, newer=before is None or before.id != image.id))
        self.store.event("pull", image, reference.familiar())
        _check_platform(image, reference.familiar(), platform)
        return image

    async def push(
        self, name: str, tag: str, platform: Platform | None, credentials: Credentials, progress: Progress
    ) -> None:
        """`docker push`: one tag, or all tags of the repository if none is given.

        Raises:
            NotFound: no such image. Errors of the registry as `Pusher.push`.
        """
        reference = named(name, tag)
        progress.status(f"The push refers to repository [{reference.repository}]")
        wanted = [reference] if reference.tag else self._tags_of(reference)
        if not wanted:
            raise NotFound(f"An image does not exist locally with the tag: {reference.repository_familiar}")
        for each in wanted:
            image = self.store.find(each.canonical())
            if image is None:
                raise NotFound(f"tag does not exist: {each.familiar()}" if self._tags_of(each) else _no_tag(each))
            _check_platform(image, each.familiar(), platform)
            with self.store.lease(image):
                pushed = await self._pusher.push(image, each, credentials, progress)
            if self.store.find(image.id) is not None:
                self.store.add(image.config_bytes, pushed.content, [each.with_digest(pushed.digest)])
            self.store.event("push", image, each.familiar())

    def _tags_of(self, reference: Reference) -> list[Reference]:
        return [
            known
            for image in self.store.list(all_images=True)
            for known in image.references
            if known.tag and known.repository == reference.repository
        ]

    async def distribution(self, name: str, credentials: Credentials) -> dict[str, Any]:
        """The body of `GET /distribution/{name}/json`: what the registry has under a name, without pulling it."""
        reference = Reference.parse(name).with_default_tag()
        repository = self.registry.repository(reference, credentials)
        manifest = await fetch_manifest(repository, reference, shown=False)
        if manifest.is_index:
            platforms = [child.platform for child in manifest.children if child.platform]
        elif manifest.config is not None:
            platforms = [_platform_of(await fetch_small_blob(repository, manifest.config))]
        descriptor = {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": len(manifest.content)}
        return {"Descriptor": descriptor, "Platforms": platforms}

    async def login(self, credentials: Credentials) -> dict[str, str]:
        """The body of `POST /auth`. Raises Unauthorized, or Internal if the registry does not answer."""
        domain = credentials.serveraddress.partition("://")[2] or credentials.serveraddress
        domain = domain.partition("/")[0]
        if domain in _HUB_NAMES:
            domain = DEFAULT_DOMAIN
        token = await self.registry.login(domain, credentials)
        return {"IdentityToken": token, "Status": "Login Succeeded"}

    async def search(self, term: str, limit: int, credentials: Credentials) -> list[dict[str, Any]]:
        """The body of `GET /images/search`, as the registry in `term` (or Docker Hub) answers."""
        return await search(self.registry, term, limit, credentials)


def named(name: str, tag: str) -> Reference:
    """The reference of the query parameters `name` and `tag`; the latter may be a digest.

    Raises:
        InvalidArgument: in Docker's words.
    """
    if not name:
        raise InvalidArgument("invalid reference format")
    reference = Reference.parse(name)
    if not tag:
        return reference
    return reference.with_digest(tag) if ":" in tag else reference.with_tag(tag)


def _pulled(shown: str, *, newer: bool) -> str:
    return f"Status: {'Downloaded newer image' if newer else 'Image is up to date'} for {shown}"


def _check_platform(image: Image, name: str, wanted: Platform | None) -> None:
    if wanted is not None and not wanted.matches(image.platform):
        raise NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {wanted}, actual: {image.platform}"
        )


def _no_tag(reference: Reference) -> str:
    return f"An image does not exist locally with the tag: {reference.repository_familiar}"


def _platform_of(config: bytes) -> dict[str, str]:
    from sampan.spec.oci_image import parse_config

    parsed = parse_config(config)
    keys = {"architecture": "architecture", "os": "os", "os.version": "os.version", "variant": "variant"}
    return {shown: str(parsed[key]) for key, shown in keys.items() if parsed.get(key)}


async def in_stream(work: Callable[[], Any], progress: Progress) -> SampanError | None:
    """Run `work` and end `progress` after it; gives its error, which the stream's reader reports."""
    try:
        await work()
        return None
    except SampanError as error:
        return error
    finally:
        progress.end()


def _without_registry(reference: Reference) -> str:
    """The way out for images that can be made here, or ""."""
    name, release = reference.familiar().partition(":")[::2]
    try:
        if name != "busybox":
            find_release(name, release)
    except NotFound:
        return ""
    return (
        f"`sampan image bootstrap {reference.familiar()}` makes it of the distribution's packages, without a registry"
    )


__all__ = ["ANONYMOUS", "ImageService", "error_message", "in_stream", "named"]

"""The images of an engine: what is here, by which names, and what may go.

The tables are the durable form; a copy in memory answers questions. All methods belong to the event loop's thread.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sampan.content.blobs import BlobStore
from sampan.content.layers import LayerStore
from sampan.errors import InvalidArgument, NotFound
from sampan.images.deletion import Deletion, InUse
from sampan.images.filters import select
from sampan.images.history import history
from sampan.images.image import Image
from sampan.spec.oci_image import parse_config
from sampan.store.database import Database
from sampan.store.images import ImageRow, ImageRows
from sampan.types.digest import sha256_of
from sampan.types.reference import Reference

# inside the class, `list` is the method
Images = list[Image]
Records = list[dict[str, str]]
Strings = list[str]
Steps = list[dict[str, Any]]

# EventBus.publish: type, action, id, attributes
Publish = Callable[[str, str, str, Mapping[str, str]], object]


def _silent(type_: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
    """Nobody listens."""


class ImageStore:
    def __init__(
        self, database: Database, blobs: BlobStore, layers: LayerStore, publish: Publish | None = None
    ) -> None:
        self.blobs = blobs
        self.layers = layers
        self._rows = ImageRows(database)
        self._publish = publish or _silent
        self._images: dict[str, Image] = {}
        self._names: dict[str, str] = {}
        self._layer_users: builtins.list[Callable[[], Iterable[str]]] = []
        for row in self._rows.all():
            self._images[row.id] = Image.of_row(row, parse_config(row.config))
        for name, image_id in self._rows.references():
            self._names[name] = image_id
            self._images[image_id].names.append(name)

    # -- look-up --------------------------------------------------------------------------------------------------------

    def get(self, name_or_id: str) -> Image:
        """By name (short or full, with tag or digest), id or unambiguous start of an id; names win over ids.

        Raises:
            NotFound: `No such image: busybox:latest`.
            InvalidArgument: neither a name nor an id can look like this.
        """
        image = self.find(name_or_id)
        if image is None:
            raise NotFound(f"No such image: {self._shown(name_or_id)}")
        return image

    def find(self, name_or_id: str) -> Image | None:
        """As `get`, None if there is none."""
        if name_or_id in self._images:
            return self._images[name_or_id]
        digits = name_or_id.removeprefix("sha256:")
        is_hex = bool(digits) and not digits.strip("0123456789abcdef")
        if not name_or_id.startswith("sha256:") and not (is_hex and len(digits) == 64):
            reference = Reference.parse(name_or_id)
            image_id = self._names.get(reference.with_default_tag().canonical())
            if image_id is None and reference.digest:
                image_id = self._by_digest(reference)
            if image_id is not None:
                return self._images[image_id]
        elif not is_hex:
            raise InvalidArgument("invalid reference format")
        if not is_hex or len(digits) > 64:
            return None
        matches = [image_id for image_id in self._images if image_id.startswith("sha256:" + digits)]
        return self._images[matches[0]] if len(matches) == 1 else None

    def _by_digest(self, reference: Reference) -> str | None:
        """`repo:tag@digest` and `repo@<image id>`."""
        assert reference.digest is not None
        image_id = self._names.get(reference.with_digest(reference.digest).canonical())
        if image_id is None and reference.digest in self._images:
            image = self._images[reference.digest]
            if any(known.repository == reference.repository for known in image.references):
                return image.id
        return image_id

    @staticmethod
    def _shown(name_or_id: str) -> str:
        try:
            return Reference.parse(name_or_id).with_default_tag().familiar()
        except InvalidArgument:
            return name_or_id

    def list(self, filters: Mapping[str, Sequence[str]] | None = None, *, all_images: bool = False) -> Images:
        """Newest first. Without `all_images`, images that only serve as a parent of others are left out.

        `filters` as of `GET /images/json`; see `filters.select`.
        """
        images = sorted(self._images.values(), key=lambda image: image.created_ns, reverse=True)
        if not all_images:
            parents = {image.parent for image in images}
            images = [image for image in images if image.names or image.id not in parents]
        return select(self, images, filters or {})

    def children(self, image_id: str) -> Images:
        return [image for image in self._images.values() if image.parent == image_id]

    def is_id(self, image: Image, name_or_id: str) -> bool:
        """Whether `name_or_id`, which led to `image`, is (a part of) its id and not a name."""
        return image.id.startswith(name_or_id) or image.id.startswith("sha256:" + name_or_id)

    # -- layers ---------------------------------------------------------------------------------------------------------

    def chain_ids(self, image: Image) -> Strings:
        """Lowest first."""
        return [str(chain_id) for chain_id in image.chain_ids]

    def lower_dirs(self, image: Image, *, stubs: bool = True) -> Strings:
        """Directories for overlayfs' `lowerdir`, topmost first.

        With `stubs`, the lowest one holds empty mount points (/proc, /etc/hosts, …), as a container needs; without, there is
        exactly what the image holds.
        """
        directories = [self.layers.path(chain_id) for chain_id in reversed(image.chain_ids)]
        return [*directories, self.layers.stubs] if stubs else directories

    def lease(self, image: Image) -> AbstractContextManager[None]:
        """Keep the image's layers while a block runs, even if the image is deleted."""
        return self.layers.lease(image.chain_ids)

    def add_layer_user(self, chain_ids: Callable[[], Iterable[str]]) -> None:
        """Register who else needs layers (containers, build cache): asked before any layer is deleted."""
        self._layer_users.append(chain_ids)

    # -- changes --------------------------------------------------------------------------------------------------------

    def add(
        self,
        config_bytes: bytes,
        manifest_bytes: bytes | None = None,
        references: Iterable[Reference | str] = (),
        *,
        parent: str = "",
    ) -> Image:
        """Record an image whose layers are all in the layer store, and name it.

        A reference with a digest becomes one of `repo_digests`, one with a tag takes that tag from whoever had it. Adding an
        image again updates its manifest and adds the names.

        Raises:
            NotFound: a layer is not here. InvalidArgument: a malformed config.
        """
        config = parse_config(config_bytes)
        image_id = str(sha256_of(config_bytes))
        known = self._images.get(image_id)
        if known is None or manifest_bytes is not None or parent:
            digest = str(sha256_of(manifest_bytes)) if manifest_bytes is not None else None
            image = Image.of_row(ImageRow(image_id, config_bytes, digest, manifest_bytes, parent, 0), config)
            image.size_bytes = sum(self.layers.info(chain_id).size_bytes for chain_id in image.chain_ids)
            if known is not None:
                image.names, image.tagged_at_ns = known.names, known.tagged_at_ns
                image.parent = parent or known.parent
                if manifest_bytes is None:
                    image.manifest_digest, image.manifest_bytes = known.manifest_digest, known.manifest_bytes
            self._rows.add(
                ImageRow(
                    image_id, config_bytes, image.manifest_digest, image.manifest_bytes, image.parent, image.size_bytes
                )
            )
            self._images[image_id] = image
        for reference in references:
            parsed = Reference.parse(reference) if isinstance(reference, str) else reference
            self._name(self._images[image_id], parsed.with_default_tag())
        return self._images[image_id]

    def tag(self, image: Image | str, reference: Reference | str) -> None:
        """Name `image`; the name leaves whichever image had it.

        Raises:
            InvalidArgument: not a name, or one that looks like a digest's algorithm.
        """
        target = self.get(image) if isinstance(image, str) else image
        parsed = Reference.parse(reference) if isinstance(reference, str) else reference
        if parsed.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        if parsed.repository_familiar == "sha256":
            raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
        parsed = parsed.with_default_tag()
        self._name(target, parsed)
        self.event("tag", target, parsed.familiar())

    def _name(self, image: Image, reference: Reference) -> None:
        name = reference.with_digest(reference.digest).canonical() if reference.digest else reference.canonical()
        before = self._names.get(name)
        if before == image.id:
            return
        image.tagged_at_ns = time.time_ns()
        self._rows.name(name, image.id, image.tagged_at_ns)
        if before is not None:
            self._images[before].names.remove(name)
        self._names[name] = image.id
        image.names.append(name)

    def untag(self, name: str) -> None:
        """Remove one canonical name; the image stays."""
        image_id = self._names.pop(name)
        self._images[image_id].names.remove(name)
        self._rows.unname(name)

    def delete(self, name_or_id: str, *, force: bool = False, prune: bool = True, in_use: InUse) -> Records:
        """`docker rmi`: gives what happened as [{"Untagged": name} | {"Deleted": id}].

        `in_use(image_id)` gives (container id, is running) of the containers made from an image. See `deletion`.
        """
        return Deletion(self, in_use).delete(name_or_id, force=force, prune=prune)

    def prune(
        self, filters: Mapping[str, Sequence[str]], in_use: InUse, *, dangling_only: bool = True
    ) -> tuple[Records, int]:
        """Delete unused images (those without a tag, or all); gives what happened and the bytes freed."""
        return Deletion(self, in_use).prune(filters, dangling_only=dangling_only)

    def history(self, image: Image) -> Steps:
        """As `GET /images/{name}/history`."""
        return history(self, image)

    def forget(self, image: Image) -> Strings:
        """Remove the record and its names, and the layers that nobody needs any more; gives those, topmost first."""
        documents = {image.id, image.manifest_digest, *(reference.digest for reference in image.references)}
        for name in tuple(image.names):
            del self._names[name]
        del self._images[image.id]
        self._rows.remove(image.id)
        for child in self.children(image.id):
            child.parent = ""
        needed = self._documents()
        for digest in documents:
            if digest and digest not in needed:
                self.blobs.delete(digest)
        return self.collect(image.chain_ids)

    def _documents(self) -> set[str]:
        """Digests of the configs, manifests and indexes of all images."""
        found: set[str] = set()
        for image in self._images.values():
            found.update(str(reference.digest) for reference in image.references if reference.digest)
            found.update(digest for digest in (image.id, image.manifest_digest) if digest)
        return found

    def clean(self) -> None:
        """At start-up, before anything else uses the stores: finish what a dead engine left, drop what nothing needs."""
        self.blobs.clean()
        self.layers.clean()
        self.collect()
        needed = self._documents()
        needed.update(blob for chain_id in self.layers.list() if (blob := self.layers.info(chain_id).blob))
        for digest in self.blobs.list():
            if digest not in needed:
                self.blobs.delete(digest)

    def collect(self, chain_ids: Iterable[str] | None = None) -> Strings:
        """Delete those of `chain_ids` (default: of all layers) that no image, container or cache entry needs."""
        needed = {str(chain_id) for image in self._images.values() for chain_id in image.chain_ids}
        for users in self._layer_users:
            needed.update(users())
        candidates = [*chain_ids] if chain_ids is not None else self.layers.list()
        gone: Strings = []
        for chain_id in reversed(candidates):
            if str(chain_id) in needed or not self.layers.has(chain_id):
                continue
            blob = self.layers.info(chain_id).blob
            if self.layers.delete(chain_id):
                gone.append(str(chain_id))
                if blob is not None and not self._blob_needed(blob):
                    self.blobs.delete(blob)
        return gone

    def _blob_needed(self, blob: str) -> bool:
        return any(
            self.layers.info(chain_id).blob == blob for chain_id in self.layers.list() if self.layers.has(chain_id)
        )

    def event(self, action: str, image: Image, name: str = "") -> None:
        """Publish what happened to an image."""
        self._publish("image", action, image.id, {**image.labels, "name": name or image.id})

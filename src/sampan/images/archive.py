"""`docker save` and `docker load`: images as one tar that is both Docker's archive and an OCI image layout.

Docker's side: `manifest.json` names config and layers of every image (moby, image/tarexport). OCI's side: `oci-layout`,
`index.json`, `blobs/sha256/…` (image-spec, image-layout.md). Layers that came compressed stay as they came, so digests of
manifests survive a round trip.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from sampan.content.pipeline import HashingWriter, Produced
from sampan.errors import NotFound
from sampan.images.image import Image
from sampan.images.load import read_archive
from sampan.images.progress import Progress
from sampan.images.store import ImageStore
from sampan.spec import oci_image as oci
from sampan.tar.entry import DIRECTORY, Entry
from sampan.tar.header import END_OF_ARCHIVE, encode
from sampan.tar.reader import Readable
from sampan.tar.writer import Writable
from sampan.types.digest import Digest, sha256_of
from sampan.types.reference import Reference

_CHUNK = 1 << 20


async def load(store: ImageStore, source: Readable, *, quiet: bool, progress: Progress) -> list[Image]:
    """Add the images of an archive, which a thread reads; each is told as `Loaded image: name` or `Loaded image ID: id`.

    Raises:
        InvalidArgument: damaged, hostile, or no archive of images; nothing of it is kept.
    """
    loaded = await asyncio.to_thread(read_archive, store.layers, store.blobs, source)
    images: list[Image] = []
    try:
        for item in loaded.images:
            with store.layers.lease(item.chain_ids):
                await asyncio.to_thread(loaded.install, item)
                image = store.add(item.config, item.manifest, item.references)
            images.append(image)
            for reference in item.references:
                progress.send({"stream": f"Loaded image: {reference.familiar()}\n"})
            if not item.references:
                progress.send({"stream": f"Loaded image ID: {image.id}\n"})
            store.event("load", image)
    finally:
        await asyncio.to_thread(loaded.close)
    return images


class SavedArchive:
    """The stream of `save`; closing it lets its layers go."""

    def __init__(self, produced: Produced, leases: ExitStack) -> None:
        self._produced = produced
        self._leases = leases

    def read(self, size: int = _CHUNK, /) -> bytes:
        return self._produced.read(size)

    def close(self) -> None:
        self._produced.close()
        self._leases.close()


def save(store: ImageStore, names: Sequence[str]) -> SavedArchive:
    """The archive of the images that `names` mean: a name with tag, a repository (all of its tags), or an id.

    Raises:
        NotFound: one of them is not here.
    """
    wanted: dict[str, tuple[Image, list[Reference]]] = {}
    for name in names:
        for image, references in _selected(store, name):
            kept = wanted.setdefault(image.id, (image, []))[1]
            kept.extend(reference for reference in references if reference not in kept)
    leases = ExitStack()
    for image, _ in wanted.values():
        leases.enter_context(store.lease(image))
    chosen = list(wanted.values())
    return SavedArchive(Produced(lambda out: _Saver(store, out).save(chosen)), leases)


def _selected(store: ImageStore, name: str) -> list[tuple[Image, list[Reference]]]:
    image = store.find(name)
    if image is not None and store.is_id(image, name):
        return [(image, [])]
    reference = Reference.parse(name)
    if reference.tag or reference.digest:
        image = store.get(name)
        return [(image, [reference] if reference.tag and not reference.digest else [])]
    found = []
    for each in store.list(all_images=True):
        tags = [known for known in each.references if known.tag and known.repository == reference.repository]
        if tags:
            found.append((each, tags))
    if not found:
        raise NotFound(f"No such image: {reference.with_default_tag().familiar()}")
    return found


class _Saver:
    def __init__(self, store: ImageStore, out: Writable) -> None:
        self._store = store
        self._out = out
        self._written: set[str] = set()

    def save(self, wanted: list[tuple[Image, list[Reference]]]) -> None:
        for directory in (b"blobs", b"blobs/sha256"):
            entry = Entry(directory, DIRECTORY)
            entry.mode = 0o755
            self._out.write(encode(entry))
        index: list[dict[str, Any]] = []
        docker: list[dict[str, Any]] = []
        for image, references in wanted:
            self._image(image, references, index, docker)
        document = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": index}
        self._file(b"index.json", _json(document))
        self._file(b"manifest.json", _json(docker))
        self._file(b"oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        self._out.write(END_OF_ARCHIVE)

    def _image(
        self, image: Image, references: list[Reference], index: list[dict[str, Any]], docker: list[dict[str, Any]]
    ) -> None:
        layers = [self._layer(chain_id) for chain_id in image.chain_ids]
        self._blob(image.id, image.config_bytes)
        manifest = self._manifest(image, layers)
        digest = self._blob(sha256_of(manifest), manifest)
        media_type = json.loads(manifest).get("mediaType", oci.OCI_MANIFEST)
        platform = {"architecture": image.platform.architecture, "os": image.platform.os}
        if image.platform.variant:
            platform["variant"] = image.platform.variant
        one = oci.descriptor(media_type, digest, len(manifest), platform=platform)
        for reference in references:
            names = {
                "io.containerd.image.name": reference.canonical(),
                "org.opencontainers.image.ref.name": reference.tag,
            }
            index.append({**one, "annotations": names})
        if not references:
            index.append(one)
        docker.append(
            {
                "Config": _path(image.id),
                "RepoTags": [reference.familiar() for reference in references] or None,
                "Layers": [_path(layer["digest"]) for layer in layers],
            }
        )

    def _manifest(self, image: Image, layers: list[dict[str, Any]]) -> bytes:
        """The manifest that the image came with if its blobs are what we write; else one for what we write."""
        if image.manifest_bytes is not None:
            original = json.loads(image.manifest_bytes)
            if [item["digest"] for item in original.get("layers", ())] == [item["digest"] for item in layers]:
                return image.manifest_bytes
        config = oci.descriptor(oci.OCI_CONFIG, image.id, len(image.config_bytes))
        return _json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "config": config, "layers": layers})

    def _layer(self, chain_id: Digest) -> dict[str, Any]:
        """Write a layer, unless it is written; gives its descriptor."""
        layers, blobs = self._store.layers, self._store.blobs
        info = layers.info(chain_id)
        if info.blob is not None and blobs.has(info.blob):
            size = blobs.size(info.blob)
            if self._head(info.blob, size):
                with blobs.open(info.blob) as file:
                    self._copy(file, size)
            return oci.descriptor(_oci_layer_type(info.media_type), info.blob, size)
        size = info.tar_bytes or _measure(layers.open_tar(chain_id))
        if self._head(info.diff_id, size):
            stream = layers.open_tar(chain_id)
            try:
                self._copy(stream, size)
            finally:
                stream.close()
        return oci.descriptor(oci.OCI_LAYER, info.diff_id, size)

    def _head(self, digest: str, size: int) -> bool:
        """The header of a blob; False if the archive has it already."""
        if digest in self._written:
            return False
        self._written.add(digest)
        entry = Entry(_path(digest).encode())
        entry.size = size
        self._out.write(encode(entry))
        return True

    def _copy(self, source: Readable, size: int) -> None:
        left = size
        while left:
            data = source.read(min(_CHUNK, left))
            if not data:
                raise NotFound("a layer ended early while it was saved")
            self._out.write(data)
            left -= len(data)
        self._out.write(bytes(-size % 512))

    def _blob(self, digest: str, content: bytes) -> str:
        if self._head(digest, len(content)):
            self._out.write(content + bytes(-len(content) % 512))
        return digest

    def _file(self, name: bytes, content: bytes) -> None:
        entry = Entry(name)
        entry.size = len(content)
        self._out.write(encode(entry) + content + bytes(-len(content) % 512))


def _path(digest: str) -> str:
    parsed = Digest.parse(digest)
    return f"blobs/{parsed.algorithm}/{parsed.hex}"


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _oci_layer_type(media_type: str) -> str:
    if media_type in ("", oci.DOCKER_LAYER_GZIP):
        return media_type or oci.OCI_LAYER_GZIP
    return media_type


def _measure(stream: Any) -> int:
    counted = HashingWriter()
    try:
        while data := stream.read(_CHUNK):
            counted.write(data)
    finally:
        stream.close()
    return counted.size
